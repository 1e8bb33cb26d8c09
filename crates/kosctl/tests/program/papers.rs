//! Pages that the program makes from itself.

use crate::program::{User, golden};

#[test]
fn the_help_is_as_it_was() {
    let user = User::new();
    let help = user.run(&["-h"]);
    assert_eq!((help.code, help.err.as_str()), (0, ""));
    golden("help.txt", &help.out);
    let nothing = user.run(&[]);
    assert_eq!((nothing.code, nothing.out.as_str()), (2, ""));
}

#[test]
fn an_explanation_needs_no_server() {
    let run = User::new().run(&["explain", "e0202", "-o", "json"]);
    assert_eq!((run.code, run.json()["kind"].as_str()), (0, Some("Explanation")));
    assert_eq!(run.json()["item"]["exitCode"], 5);
}

#[test]
fn completions_are_made_for_every_shell() {
    for (shell, mark) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef kosctl"),
        ("fish", "complete -c kosctl"),
        ("elvish", "edit:completion"),
    ] {
        let run = User::new().run(&["completions", shell]);
        assert!(run.code == 0 && run.out.contains(mark), "{shell}");
    }
}

#[test]
fn there_is_a_manual_page_for_every_command() {
    let user = User::new();
    assert!(user.run(&["man"]).out.contains(".TH KOSCTL 1"));
    let run = user.run(&["man", "--dir", &user.path("man")]);
    assert_eq!(run.code, 0, "{run:?}");
    let pages: Vec<_> = std::fs::read_dir(user.path("man"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for page in ["kosctl.1", "kosctl-decommission.1", "kosctl-device-approve.1", "kosctl-audit-verify.1"] {
        assert!(pages.iter().any(|p| p == page), "{page}: {pages:?}");
    }
    assert!(!pages.iter().any(|p| p.contains("reference")), "{pages:?}");
}

#[test]
fn the_reference_pages_name_every_command_and_every_code() {
    let user = User::new();
    let cli = user.run(&["reference", "cli"]).out;
    for command in
        ["kosctl ticket create", "kosctl device set-channel", "kosctl identity verify", "kosctl audit verify"]
    {
        assert!(cli.contains(&format!("## `{command}`")), "{command}");
    }
    let errors = user.run(&["reference", "errors"]).out;
    for code in kos_base::Code::all() {
        assert!(errors.contains(&format!("| {code} | {} |", code.title())), "{code}");
    }
    let openapi: serde_json::Value = serde_json::from_str(&user.run(&["reference", "openapi"]).out).unwrap();
    assert_eq!(openapi["openapi"], "3.1.0");
}
