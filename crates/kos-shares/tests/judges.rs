//! Foreign programs judge what we write: `shamir-mnemonic`, which is the reference of SLIP-39, joins our shares and makes
//! some for us; Python's HTML parser reads a sheet, and zbar its QR code.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "a foreign judge is another process")]

mod sample;

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use data_encoding::HEXLOWER;
use kos_base::{Timestamp, digest::sha256};
use kos_shares::{Commitment, Joiner, Passphrase, Plan, Progress, Share, Sheet};
use sample::{KEY, shares, words};
use serde_json::{Value, json};

fn ask_python(judge: &str, given: &str) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut python = Command::new(root.join("../../target/judges/bin/python"))
        .arg(root.join("tests/judge").join(judge))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the judge needs target/judges: cargo xtask test deps");
    python.stdin.take().unwrap().write_all(given.as_bytes()).unwrap();
    let judged = python.wait_with_output().unwrap();
    serde_json::from_slice(&judged.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&judged.stderr)))
}

/// Sets that we do not make: groups, passphrases, other lengths and amounts of work, and the older kind.
fn foreign_sets() -> Value {
    let secret = HEXLOWER.encode(&KEY);
    let set = |threshold: u8,
               groups: &[[u8; 2]],
               passphrase: &str,
               is_extendable: bool,
               exponent: u8,
               bytes: usize| {
        json!({"threshold": threshold, "groups": groups, "passphrase": passphrase, "isExtendable": is_extendable,
            "exponent": exponent, "secret": secret.get(..2 * bytes).unwrap()})
    };
    json!([
        set(1, &[[3, 5]], "", true, 1, 32),
        set(1, &[[16, 16]], "", true, 0, 32),
        set(1, &[[1, 1]], "", true, 2, 32),
        set(2, &[[1, 1], [3, 5], [2, 6]], "", true, 0, 32),
        set(1, &[[2, 3]], "correct horse~", true, 0, 32),
        set(1, &[[2, 3]], "", false, 0, 32),
        set(3, &[[2, 2], [1, 1], [2, 3], [4, 4]], "TREZOR", false, 1, 32),
        set(1, &[[2, 3]], "x", true, 0, 16),
        set(1, &[[2, 3]], "x", false, 0, 22),
    ])
}

/// Joins the last shares of each of the last groups, and checks that it says on the way how many are missing.
fn join_last(set: &Value, made: &Value) -> String {
    let mut joiner = Joiner::new();
    let count = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
    let groups = set["groups"].as_array().unwrap().iter().zip(made.as_array().unwrap());
    let unused = made.as_array().unwrap().len() - count(&set["threshold"]);
    for (plan, shares) in groups.skip(unused) {
        let shares = shares.as_array().unwrap();
        for share in &shares[shares.len() - count(&plan[0])..] {
            assert_ne!(joiner.progress(), Progress::Complete);
            let share = share.as_str().unwrap();
            let read = Share::parse(share).unwrap();
            assert_eq!(words(&read), share);
            joiner.add(read).unwrap();
        }
    }
    assert_eq!(joiner.progress(), Progress::Complete);
    let passphrase = Passphrase::new(set["passphrase"].as_str().unwrap().to_owned()).unwrap();
    let joined = joiner.join_guarded(&passphrase).unwrap();
    if set["passphrase"] == "" {
        assert_eq!(joiner.join().unwrap().expose(), joined.expose());
    }
    HEXLOWER.encode(joined.expose())
}

#[test]
fn the_reference_joins_our_shares_and_makes_shares_that_we_join() {
    let plans = [(1, 1), (2, 2), (2, 3), (3, 5), (5, 16), (16, 16)];
    let ours: Vec<Vec<String>> = (1..)
        .zip(plans)
        .map(|(seed, (threshold, total))| {
            shares(threshold, total, seed).iter().rev().take(usize::from(threshold)).map(words).collect()
        })
        .collect();
    let sets = foreign_sets();
    let share = &shares(2, 3, 7)[2];
    let given = json!({"join": ours, "make": sets, "commit": words(share)});
    let said = ask_python("slip39.py", &given.to_string());

    assert_eq!(said["joined"], json!(vec![HEXLOWER.encode(&KEY); plans.len()]));
    let sets = sets.as_array().unwrap();
    for (set, made) in sets.iter().zip(said["made"].as_array().unwrap()) {
        assert_eq!(json!(join_last(set, made)), set["secret"], "{set}");
    }
    assert_eq!(said["words"], HEXLOWER.encode(&sha256(include_bytes!("../src/words.txt"))));
    assert_eq!(said["commitment"], Commitment::of(share).to_string());
}

/// The dark modules of a path such as `M4,4h7v1h-7z`, as a bitmap of six pixels a module.
fn photograph(path: &str) -> String {
    const PIXELS: usize = 6;
    const SIDE: usize = 120;
    let mut dark = vec![[false; SIDE]; SIDE];
    for run in path.split('M').skip(1) {
        let (x, rest) = run.split_once(',').unwrap();
        let (y, rest) = rest.split_once('h').unwrap();
        let (length, _) = rest.split_once('v').unwrap();
        let [x, y, length] = [x, y, length].map(|number| number.parse::<usize>().unwrap());
        dark[y][x..x + length].fill(true);
    }
    let mut bitmap = format!("P1\n{0} {0}\n", SIDE * PIXELS);
    for row in dark {
        let line: String =
            row.iter().map(|dark| if *dark { "1".repeat(PIXELS) } else { "0".repeat(PIXELS) }).collect();
        bitmap.push_str(&format!("{line}\n").repeat(PIXELS));
    }
    bitmap
}

fn zbar(bitmap: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("photo.pbm");
    fs::write(&file, bitmap).unwrap();
    let run = Command::new("zbarimg").args(["--quiet", "--raw"]).arg(file).output();
    let run = run.expect("zbarimg is missing: apt-get install zbar-tools");
    String::from_utf8(run.stdout).unwrap().trim_end().to_owned()
}

#[test]
fn a_sheet_shows_the_share_runs_nothing_and_is_read_by_a_camera() {
    let share = &shares(3, 5, 1)[1];
    let holder = "Zoë </dd><script>alert(1)</script><img src=x> & \"'Co \u{202e}";
    let sheet = Sheet {
        share,
        vault: "attic",
        holder,
        plan: Plan::new(3, 5).unwrap(),
        made_at: Timestamp::from_unix_s(1_795_170_000),
    };
    let page = sheet.to_html();
    let seen = ask_python("sheet.py", page.expose());
    assert_eq!(seen["title"], json!(["Recovery share 2 of 5"]));
    let facts = json!({"Vault": "attic", "Holder": holder.replace('\u{202e}', "\u{fffd}"), "Date": "2026-11-20",
        "Set": share.identifier().to_string()});
    assert_eq!(seen["facts"], facts);
    assert_eq!(seen["words"], json!(words(share).split(' ').collect::<Vec<_>>()));

    let photographed = zbar(&photograph(seen["path"].as_str().unwrap()));
    assert_eq!(photographed, words(share).to_uppercase());
    assert!(Share::parse(&photographed).unwrap() == *share);
}
