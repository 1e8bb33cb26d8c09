//! `cargo xtask sbom`: what each program is made of, as CycloneDX 1.5 in JSON.
//!
//! `cargo-cyclonedx` asks cargo and writes its files beside the manifests; they are read there, taken away, and freed of what
//! differs from one machine to the next: paths, and the moment. The same sources give the same bytes.
//!
//! What it does not do: look into crates for C code that they bring, or know which features one program alone needs; cargo resolves
//! them for the workspace.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use crate::workspace::Workspace;
use crate::{children, tools};

/// The programs that people get.
const PROGRAMS: [&str; 4] = ["kos-authority", "kosctl", "kosd", "quickstart"];

/// The platform that releases are for.
const TARGET: &str = "x86_64-unknown-linux-gnu";

const SPECIFICATION: &str = "1.5";

/// List what each program is made of.
#[derive(Args)]
pub(crate) struct Sbom {
    /// The folder for the files, one a program; target/sbom without it
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The platform that the programs are for
    #[arg(long, value_name = "TRIPLE", default_value = TARGET)]
    target: String,
}

/// Writes a file for each program.
pub(crate) fn run(sbom: &Sbom, workspace: &Workspace) -> Result<()> {
    let out = sbom.out.clone().unwrap_or_else(|| workspace.target.join("sbom"));
    write(&out, &sbom.target, workspace)
}

fn write(out: &Path, target: &str, workspace: &Workspace) -> Result<()> {
    let program = tools::CYCLONEDX.install(workspace)?;
    let mut cyclonedx = std::process::Command::new(program);
    cyclonedx
        .current_dir(&workspace.root)
        // Without it a time and a random number are written.
        .env("SOURCE_DATE_EPOCH", "0")
        .args(["cyclonedx", "--quiet", "--format", "json", "--describe", "binaries"])
        .args(["--spec-version", SPECIFICATION, "--target", target]);
    let done = children::must_succeed(&mut cyclonedx);
    let written = workspace.crates.iter().filter_map(|one| {
        let file = one.manifest_path.parent()?.join(format!("{}_bin.cdx.json", one.name));
        Some((one.name.as_str(), take(&file)?))
    });
    let written: Vec<(&str, String)> = written.collect();
    done?;
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    for name in PROGRAMS {
        let Some((_, text)) = written.iter().find(|(written, _)| *written == name) else {
            bail!("cargo-cyclonedx wrote nothing about {name}");
        };
        let file = out.join(format!("{name}.cdx.json"));
        fs::write(&file, portable(text, &workspace.root)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
        eprintln!("wrote {}", file.display());
    }
    Ok(())
}

/// The text of a file that is there, which is there no more.
fn take(file: &Path) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    fs::remove_file(file).ok()?;
    Some(text)
}

/// The same document, whichever machine made it.
fn portable(text: &str, root: &Path) -> Result<String> {
    let here = format!("path+file://{}/", root.display());
    let text = text.replace(&here, "kos:");
    let mut document: Value = serde_json::from_str(&text).context("cargo-cyclonedx wrote no JSON")?;
    if let Some(members) = document.as_object_mut() {
        members.remove("serialNumber");
    }
    if let Some(metadata) = document.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("timestamp");
    }
    strip_places(&mut document);
    let mut written = serde_json::to_string_pretty(&document)?;
    written.push('\n');
    Ok(written)
}

/// Package URLs of our own crates name the folder that they were built in.
fn strip_places(value: &mut Value) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(purl)) = members.get_mut("purl")
                && let Some(at) = purl.find("?download_url=file:")
            {
                purl.truncate(at);
            }
            members.values_mut().for_each(strip_places);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_places),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::process::{Command, Output};

    use super::*;
    use crate::workspace;

    fn judge(workspace: &Workspace, file: &Path) -> Output {
        let python = workspace.root.join("target/judges/bin/python");
        let script = workspace.root.join("xtask/judge/sbom.py");
        Command::new(python).arg(script).arg(file).output().unwrap()
    }

    /// `name version` of everything that cargo builds into a program, as cargo's own tree says.
    fn tree(workspace: &Workspace, program: &str) -> BTreeSet<String> {
        let words = ["tree", "--package", program, "--edges", "normal,build", "--target", TARGET];
        let text = children::stdout(
            workspace.cargo(words).args(["--prefix", "none", "--format", "{p}", "--locked"]),
        );
        let text = text.unwrap();
        let crates = text.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            Some(format!("{} {}", words.next()?, words.next()?.trim_start_matches('v')))
        });
        crates.collect()
    }

    #[test]
    fn a_foreign_judge_reads_what_each_program_is_made_of() {
        let workspace = Workspace::load(&workspace::root()).unwrap();
        let folder = workspace.target.join("tmp/sbom");
        let (first, again) = (folder.join("first"), folder.join("again"));
        write(&first, TARGET, &workspace).unwrap();
        write(&again, TARGET, &workspace).unwrap();
        for program in PROGRAMS {
            let file = first.join(format!("{program}.cdx.json"));
            let text = fs::read_to_string(&file).unwrap();
            assert_eq!(text, fs::read_to_string(again.join(format!("{program}.cdx.json"))).unwrap());
            let root = workspace.root.to_string_lossy();
            for place in [&*root, "file://", "\"timestamp\":", "serialNumber"] {
                assert!(!text.contains(place), "{program} says {place}");
            }

            let verdict = judge(&workspace, &file);
            assert!(verdict.status.success(), "{program}: {}", String::from_utf8_lossy(&verdict.stderr));
            let read: Value = serde_json::from_slice(&verdict.stdout).unwrap();
            assert_eq!(read["program"], program);
            assert_eq!(
                read["without"],
                Value::Array(vec![]),
                "{program} has components without a licence or checksum"
            );
            let listed = read["components"].as_array().unwrap();
            let listed: BTreeSet<_> = listed.iter().map(|one| one.as_str().unwrap().to_owned()).collect();
            let missing: Vec<_> =
                tree(&workspace, program).into_iter().filter(|one| !listed.contains(one)).collect();
            assert!(missing.is_empty(), "{program} does not list {missing:?}");

            // The judge sees what is wrong.
            let broken = first.join("broken.json");
            for (right, wrong) in [("\"library\"", "\"livery\""), ("\"SHA-256\"", "\"SHA-257\"")] {
                fs::write(&broken, text.replacen(right, wrong, 1)).unwrap();
                assert!(!judge(&workspace, &broken).status.success(), "{wrong}");
            }
            fs::remove_file(&broken).unwrap();
        }
    }
}
