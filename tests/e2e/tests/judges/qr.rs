//! zbar reads the ticket of a real authority, and the device that is handed what it read is let in.

use kos_e2e::{
    fleet::{Authority, Device},
    judge::{self, Desk},
};

/// What `zbarimg` reads in an image.
fn read(desk: &Desk, image: &str) -> String {
    judge::agrees("zbarimg", &["--quiet", "--raw", &desk.at(image)], "").unwrap().trim_end().to_owned()
}

/// The bitmap of what stands on a terminal: each character is two modules, painted ones are light.
fn photograph(terminal: &str) -> String {
    const PIXELS: usize = 6;
    let mut rows = Vec::new();
    for line in terminal.lines().filter(|line| line.starts_with('█')) {
        for marks in [['█', '▀'], ['█', '▄']] {
            let module = |c: char| if marks.contains(&c) { '0' } else { '1' };
            let row: String = line.chars().flat_map(|c| std::iter::repeat_n(module(c), PIXELS)).collect();
            rows.extend(std::iter::repeat_n(row, PIXELS));
        }
    }
    let width = rows.iter().map(String::len).max().unwrap();
    format!("P1\n{width} {}\n{}\n", rows.len(), rows.join("\n"))
}

fn lets_in(authority: &Authority, serial: &str, ticket: &str) {
    let device = Device::new(serial, "").unwrap();
    let done = device.enrol(ticket).unwrap();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    assert_eq!(authority.device(&device.id().unwrap()).unwrap()["role"], "sensor");
}

#[test]
fn a_camera_reads_a_ticket_from_screen_and_paper_and_it_lets_a_device_in() {
    let authority = Authority::start().unwrap();
    let desk = Desk::new().unwrap();
    let made = authority.kosctl(&["ticket", "create", "--role", "sensor", "--qr"]).unwrap();
    assert_eq!(made.code(), 0, "{}", made.stderr);
    desk.put("screen.pbm", photograph(&made.stdout)).unwrap();
    lets_in(&authority, "camera-1", &read(&desk, "screen.pbm"));

    let ticket = authority.json(&["ticket", "create", "--role", "sensor"]).unwrap();
    let url = ticket["item"]["url"].as_str().unwrap();
    desk.put("ticket", url).unwrap();
    let (file, pbm) = (desk.at("ticket"), desk.at("paper.pbm"));
    let drawn = authority.kosctl(&["ticket", "qr", "--ticket-file", &file, "--pbm", &pbm]).unwrap();
    assert_eq!(drawn.code(), 0, "{}", drawn.stderr);
    assert_eq!(read(&desk, "paper.pbm"), url);
    lets_in(&authority, "camera-2", &read(&desk, "paper.pbm"));
}
