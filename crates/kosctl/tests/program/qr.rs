//! QR codes, read by zbar.

use std::process::Command;

use crate::{program::User, sample::TEXT};

/// What `zbarimg` reads in an image.
fn zbar(path: &str) -> String {
    let run = Command::new("zbarimg").args(["--quiet", "--raw", path]).output();
    let run = run.expect("zbarimg is missing: apt-get install zbar-tools");
    String::from_utf8(run.stdout).unwrap().trim_end().to_owned()
}

/// The bitmap of what stands on a terminal: each character is two modules, painted ones are light.
fn photograph(terminal: &str) -> String {
    const PIXELS: usize = 6;
    let mut rows = Vec::new();
    for line in terminal.lines() {
        let light = |c: char, marks: [char; 2]| if marks.contains(&c) { '0' } else { '1' };
        for marks in [['█', '▀'], ['█', '▄']] {
            let row: String =
                line.chars().flat_map(|c| std::iter::repeat_n(light(c, marks), PIXELS)).collect();
            rows.extend(std::iter::repeat_n(row, PIXELS));
        }
    }
    let width = rows.iter().map(String::len).max().unwrap();
    format!("P1\n{width} {}\n{}\n", rows.len(), rows.join("\n"))
}

#[test]
fn a_camera_reads_the_ticket_from_terminal_and_bitmap() {
    let user = User::new();
    let url = format!("https://attic.local:8641/enroll#{TEXT}{}", "x".repeat(200));
    let shown = user.run_with(&["ticket", "qr"], url.as_bytes());
    assert_eq!((shown.code, shown.err.as_str()), (0, ""), "{shown:?}");
    assert_eq!(zbar(&user.write("photo.pbm", photograph(&shown.out))), url);

    let file = user.write("ticket", format!("{url}\n"));
    let (pbm, svg) = (user.path("t.pbm"), user.path("t.svg"));
    let written = user.run(&["ticket", "qr", "--ticket-file", &file, "--pbm", &pbm, "--svg", &svg]);
    assert_eq!((written.code, written.out.as_str()), (0, ""), "{written:?}");
    assert_eq!(zbar(&pbm), url);
    assert!(std::fs::read_to_string(svg).unwrap().starts_with("<svg xmlns"));
}

#[test]
fn a_ticket_is_not_an_argument() {
    let run = User::new().run(&["ticket", "qr", TEXT]);
    assert_eq!((run.code, run.out.as_str()), (2, ""));
    assert_eq!(User::new().run(&["ticket", "qr"]).code, 2, "nothing on stdin is no ticket");
}
