//! A sheet as HTML, with its QR code as SVG.

use core::fmt::Write as _;

use qrcodegen::{QrCode, QrCodeEcc};
use zeroize::Zeroizing;

use super::{Sheet, TITLE};
use crate::SecretText;

/// Longest page, in bytes. The code of the longest share has some 5 000 runs of dark modules.
const PAGE_BYTES_MAX: usize = 160 * 1024;

/// Light modules around a code, without which readers do not find it.
const QUIET_MODULES: i32 = 4;

const HEAD: &str = "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
    <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
    <meta name=\"referrer\" content=\"no-referrer\">\n";

const STYLE: &str = "<style>\n\
    @page { size: A4; margin: 15mm }\n\
    body { font: 11pt/1.4 sans-serif; color: #000; background: #fff; max-width: 180mm; margin: auto }\n\
    dl { display: grid; grid-template-columns: 5em auto; margin: 1em 0 }\n\
    dd { margin: 0; overflow-wrap: anywhere }\n\
    ol { columns: 3; font: 12pt/1.6 monospace; padding-left: 3em; border: 1px solid; padding-block: 1em }\n\
    svg { width: 55mm; height: 55mm }\n\
    </style>\n";

pub(super) fn write(sheet: &Sheet<'_>) -> SecretText {
    let mut page = SecretText::with_room(PAGE_BYTES_MAX);
    let title = format!("{TITLE} {}", sheet.place());
    let _ = write!(page, "{HEAD}<title>{title}</title>\n{STYLE}</head>\n<body>\n<h1>{title}</h1>\n<dl>\n");
    for (name, value) in sheet.facts() {
        let _ = writeln!(page, "<dt>{name}</dt><dd>{}</dd>", escape(&value));
    }
    page.push("</dl>\n<ol>\n");
    let words = sheet.share.to_words();
    for word in words.expose().split(' ') {
        let _ = writeln!(page, "<li>{word}</li>");
    }
    page.push("</ol>\n");
    let capitals = Zeroizing::new(words.expose().to_ascii_uppercase());
    // The longest share has a fifth of what a code can hold.
    if let Ok(code) = QrCode::encode_text(&capitals, QrCodeEcc::Medium) {
        draw(&code, &mut page);
    }
    for sentence in sheet.advice() {
        let _ = writeln!(page, "<p>{}</p>", escape(&sentence));
    }
    page.push("</body>\n</html>\n");
    page
}

/// One unit a module; dark modules beside each other are one rectangle.
fn draw(code: &QrCode, page: &mut SecretText) {
    let side = code.size() + 2 * QUIET_MODULES;
    let _ = write!(
        page,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" role=\"img\" \
         aria-label=\"The words as a QR code\" shape-rendering=\"crispEdges\">\
         <rect width=\"{side}\" height=\"{side}\" fill=\"#fff\"/><path d=\""
    );
    for y in 0..code.size() {
        let mut x = 0;
        while x < code.size() {
            let run = (x..code.size()).take_while(|x| code.get_module(*x, y)).map(|_| 1).sum::<i32>();
            if run > 0 {
                let _ = write!(page, "M{},{}h{run}v1h-{run}z", x + QUIET_MODULES, y + QUIET_MODULES);
            }
            x += run + 1;
        }
    }
    page.push("\" fill=\"#000\"/></svg>\n");
}

/// Text that stands for itself between tags.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}
