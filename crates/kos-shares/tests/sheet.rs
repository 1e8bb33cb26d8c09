//! Sheets as text, and their limits.
#![cfg(test)]

mod sample;

use kos_base::Timestamp;
use kos_shares::{Plan, Share, Sheet, TEXT_CHARS_MAX};
use sample::{shares, words};

fn sheet<'a>(share: &'a Share, holder: &'a str, plan: (u8, u8)) -> Sheet<'a> {
    Sheet {
        share,
        vault: "attic",
        holder,
        plan: Plan::new(plan.0, plan.1).unwrap(),
        made_at: Timestamp::from_unix_s(1_795_170_000),
    }
}

#[test]
fn the_text_is_as_it_was() {
    let share = &shares(3, 5, 1)[1];
    assert_eq!(sheet(share, "Zoë", (3, 5)).to_text().expose(), include_str!("sheet.txt"));
}

#[test]
fn the_words_can_be_read_off_the_text() {
    let share = &shares(3, 5, 1)[1];
    let text = sheet(share, "Zoë", (3, 5)).to_text();
    let mut read = Vec::new();
    let mut marks = text.expose().split_whitespace().peekable();
    while let Some(mark) = marks.next() {
        if mark == format!("{}.", read.len() + 1) {
            read.push(*marks.peek().unwrap());
        }
    }
    assert_eq!(read.join(" "), words(share));
    assert!(text.expose().lines().all(|line| line.chars().count() < 80));
}

#[test]
fn a_sheet_that_is_enough_alone_says_so() {
    let share = &shares(1, 1, 1)[0];
    assert!(sheet(share, "Zoë", (1, 1)).to_text().expose().contains("This sheet alone gives the key"));
}

#[test]
fn a_long_name_is_cut_and_a_strange_one_does_nothing() {
    let share = &shares(3, 5, 1)[1];
    let text = sheet(share, &format!("\x1b[2J{}", "x".repeat(1000)), (3, 5)).to_text();
    let line = text.expose().lines().find(|line| line.starts_with("Holder")).unwrap();
    assert_eq!(line, format!("Holder  \u{fffd}[2J{}…", "x".repeat(TEXT_CHARS_MAX - 4)));
}

#[test]
fn a_name_cannot_leave_its_place_on_the_page() {
    let share = &shares(3, 5, 1)[1];
    let page = sheet(share, "<&>\"'&lt;", (3, 5)).to_html();
    assert!(page.expose().contains("<dd>&lt;&amp;&gt;&quot;&#39;&amp;lt;</dd>"));
}

/// What outgrows its room leaves a copy in memory that nothing wipes.
#[test]
fn the_longest_sheet_stays_in_its_room() {
    // 59 words.
    let longest = Share::parse(include_str!("../../../tests/vectors/slip39/512-bits.txt")).unwrap();
    let holder = "\u{1f511}".repeat(TEXT_CHARS_MAX);
    let sheet = Sheet { vault: &"\"".repeat(TEXT_CHARS_MAX), ..sheet(&longest, &holder, (16, 16)) };
    assert!(sheet.to_text().expose().len() <= 4096, "{}", sheet.to_text().expose().len());
    let page = sheet.to_html();
    assert!(page.expose().len() <= 160 * 1024, "{}", page.expose().len());
    assert!(page.expose().contains("<path d=\"M4,4h7v1h-7z"), "it has its code");
}
