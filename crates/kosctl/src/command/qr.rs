//! QR codes of tickets, for a terminal, a page or a printer.

use std::fmt::Write as _;

use qrcodegen::{QrCode, QrCodeEcc};

use crate::Fault;

/// Light modules around a code, without which readers do not find it.
const QUIET_MODULES: i32 = 4;

/// How a code is painted on a terminal.
const LIGHT_BOTH: char = '█';
const LIGHT_ABOVE: char = '▀';
const LIGHT_BELOW: char = '▄';

/// A code of `text`.
pub(super) fn encode(text: &str) -> Result<QrCode, Fault> {
    QrCode::encode_text(text, QrCodeEcc::Medium)
        .map_err(|_| Fault::usage("this is too long for a QR code", "kosctl ticket create --role ROLE --qr"))
}

/// Two rows of modules a line. The light modules are painted, since most terminals are dark; a camera reads it either
/// way.
pub(super) fn terminal(code: &QrCode) -> String {
    let (first, last) = (-QUIET_MODULES, code.size() + QUIET_MODULES);
    let mut out = String::new();
    let mut y = first;
    while y < last {
        for x in first..last {
            // Below the last row there is nothing to paint.
            let below_is_light = y + 1 < last && !code.get_module(x, y + 1);
            out.push(match (!code.get_module(x, y), below_is_light) {
                (true, true) => LIGHT_BOTH,
                (true, false) => LIGHT_ABOVE,
                (false, true) => LIGHT_BELOW,
                (false, false) => ' ',
            });
        }
        out.push('\n');
        y += 2;
    }
    out
}

/// A vector image of one unit a module.
pub(super) fn svg(code: &QrCode) -> String {
    let side = code.size() + 2 * QUIET_MODULES;
    let mut path = String::new();
    for (x, y) in dark(code) {
        let _ = write!(path, "M{},{}h1v1h-1z", x + QUIET_MODULES, y + QUIET_MODULES);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\">\
         <rect width=\"{side}\" height=\"{side}\" fill=\"#fff\"/><path d=\"{path}\" fill=\"#000\"/></svg>\n"
    )
}

/// A black and white bitmap (plain PBM), eight pixels a module.
pub(super) fn pbm(code: &QrCode) -> String {
    const PIXELS: i32 = 8;
    let side = (code.size() + 2 * QUIET_MODULES) * PIXELS;
    let mut out = format!("P1\n{side} {side}\n");
    for y in 0..side {
        for x in 0..side {
            let is_dark = code.get_module(x / PIXELS - QUIET_MODULES, y / PIXELS - QUIET_MODULES);
            out.push(if is_dark { '1' } else { '0' });
        }
        out.push('\n');
    }
    out
}

fn dark(code: &QrCode) -> impl Iterator<Item = (i32, i32)> {
    let size = code.size();
    (0..size).flat_map(move |y| (0..size).map(move |x| (x, y))).filter(|(x, y)| code.get_module(*x, *y))
}
