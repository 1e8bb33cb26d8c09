//! Sharing: a new recovery key in the hands of several people, each with a sheet of paper.
//!
//! The words go into files that only the caller can read, and to stdout only with `--show`. Each sheet is read back before
//! the sharing is relied on.
//!
//! Source: `docs/spec/recovery.md` RCV-16, RCV-21, RCV-25.

use std::path::PathBuf;

use clap::Args;
use kos_api::{
    authority::Status,
    routes,
    vault::{ShareVault, Vault as Item, VaultShares, VaultSharing},
};
use kos_base::text::{is_safe, printable};
use kos_shares::{Commitment, Plan, Share as Words, Sheet};

use super::{CodeFlag, PassphraseFlag, Place, handing};
use crate::{
    Client, Fault, Outcome,
    arguments::ChangeFlags,
    files::{self, Draft, Readers},
    output::write_out,
    session::{DryRun, Ending, Session},
    terminal::{Answers, Consent, Danger, say, type_line},
};

/// Longest name of a holder, in characters.
const HOLDER_CHARS_MAX: usize = 64;

/// Most characters of a holder's name in the name of a file.
const FILE_CHARS_MAX: usize = 40;

/// `vault share`
#[derive(Debug, Args)]
pub(crate) struct Share {
    #[command(flatten)]
    place: Place,
    /// How many shares are needed to recover the vault.
    #[arg(long, value_name = "T")]
    threshold: u8,
    /// Who gets a share: 1 to 16 names.
    #[arg(long = "holder", value_name = "NAME", required = true, num_args = 1.., value_parser = holder)]
    holders: Vec<String>,
    /// The new or empty folder into which the sheets are written, as text and as a page to print.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Prints the words as well.
    #[arg(long)]
    show: bool,
    /// Does not ask for the sheets to be read back: a slip of the printer is found when it is too late.
    #[arg(long)]
    no_read_back: bool,
    #[command(flatten)]
    passphrase: PassphraseFlag,
    #[command(flatten)]
    code: CodeFlag,
    #[command(flatten)]
    change: ChangeFlags,
}

impl Share {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let total = u8::try_from(self.holders.len()).unwrap_or(u8::MAX);
        let plan = Plan::new(self.threshold, total)
            .map_err(|source| Fault::Share { from: "--threshold".to_owned(), source })?;
        let is_twice =
            |(next, holder): (usize, &String)| self.holders.iter().skip(next).any(|other| other == holder);
        if (1..).zip(&self.holders).any(is_twice) {
            return Err(Fault::usage("a holder stands there twice", "name each holder once with --holder"));
        }
        let is_read_back = !self.no_read_back && !self.change.dry_run;
        if is_read_back && session.terminal.answers == Answers::Nobody {
            let what = "the sheets have to be read back, and nobody is there to do it".to_owned();
            return Err(Fault::Unconfirmed { what, flag: "--no-read-back".to_owned() });
        }
        let client = session.client()?;
        let held = client.show::<Item>(&routes::VAULT_SHOW, &[self.place.name()]).await?.sharing;
        if self.replace(session, held.as_ref())? == Consent::Withheld {
            return Ok(Ending::Withheld);
        }
        let body = ShareVault {
            passphrase: self.passphrase.read()?,
            threshold: self.threshold,
            holders: self.holders.clone(),
            code: self.code.read(session, &client, self.place.name(), &self.change).await?,
        };
        let (route, values) = (&routes::VAULT_SHARE, [self.place.name()]);
        if self.change.dry_run {
            return super::change::<VaultShares, _>(session, &client, route, &values, &body, &self.change)
                .await;
        }
        let status: Status = client.show(&routes::STATUS, &[]).await?;
        let vault = format!("{} of {}", self.place.name(), status.authority);
        // The words come once: their files are there before they are.
        let drafts = self.drafts()?;
        let outcome = client.change::<VaultShares, _>(route, &values, &body, &self.change.change()).await?;
        let mut made = match outcome {
            Outcome::Done(made) => made,
            Outcome::Planned(plan) => return session.plan(&plan),
        };
        let words = read(&client, &made, self.holders.len())?;
        for ((drafts, words), holder) in drafts.into_iter().zip(&words).zip(&self.holders) {
            let sheet = Sheet { share: words, vault: &vault, holder, plan, made_at: made.sharing.shared_at };
            let [mut text, mut page] = drafts;
            text.write(sheet.to_text().expose().as_bytes())?;
            page.write(sheet.to_html().expose().as_bytes())?;
            text.finish()?;
            page.finish()?;
        }
        if !self.show {
            made.words.clear();
        }
        session.printer.row(&made)?;
        if session.printer.is_for_people() {
            for ((number, holder), words) in (1..).zip(&self.holders).zip(&made.words) {
                write_out(&format!("{number}  {}: {}\n", printable(holder, 64), words.expose()))?;
            }
        }
        let folder = printable(&self.out.display().to_string(), 4096);
        session.terminal.note(&format!("print the sheets in {folder}, hand them out, and delete the files"));
        let ending = if is_read_back { self.read_back(session, &made.sharing)? } else { Ending::Done };
        if held.is_some() {
            session
                .terminal
                .note("the sheets of before go on opening older copies of the vault: destroy them");
        }
        Ok(ending)
    }

    /// Asks before shares that people hold become worthless.
    fn replace(&self, session: &Session, held: Option<&VaultSharing>) -> Result<Consent, Fault> {
        let Some(sharing) = held else { return Ok(Consent::Given) };
        let question = format!("replace the shares of {}", sharing.holders.join(", "));
        let danger = Danger::Moderate { yes: self.change.yes };
        session.consent(&question, danger, DryRun::from(self.change.dry_run))
    }

    /// The files of the sheets, for each holder a text and a page. A folder with other sheets in it would mix two sets.
    fn drafts(&self) -> Result<Vec<[Draft; 2]>, Fault> {
        files::create_folder(&self.out, Readers::Owner)?;
        let unreadable = |source| Fault::Unreadable { path: self.out.clone(), source };
        if std::fs::read_dir(&self.out).map_err(unreadable)?.next().is_some() {
            let message = format!("`{}` is not empty", printable(&self.out.display().to_string(), 200));
            return Err(Fault::usage(message, "name a new folder with --out DIR"));
        }
        let start = |(number, holder): (usize, &String)| {
            let name = file_name(number, holder);
            let draft = |end| Draft::start(&self.out.join(format!("{name}.{end}")), Readers::Owner);
            Ok([draft("txt")?, draft("html")?])
        };
        (1..).zip(&self.holders).map(start).collect()
    }

    /// Has each sheet typed from the paper, until it is the one that was made.
    fn read_back(&self, session: &Session, sharing: &VaultSharing) -> Result<Ending, Fault> {
        say("read each sheet back from the paper; an empty line leaves one out");
        let mut left_out = Vec::new();
        for ((number, holder), wanted) in (1..).zip(&self.holders).zip(&sharing.commitments) {
            let holder = printable(holder, HOLDER_CHARS_MAX);
            match read_sheet_back(&format!("sheet {number}, of {holder}"), wanted)? {
                ReadBack::Whole => {}
                ReadBack::LeftOut => left_out.push(holder),
                ReadBack::Interrupted => {
                    say(
                        "the sharing holds, and not every sheet was read back; rehearse before you rely on it",
                    );
                    return Ok(Ending::Interrupted);
                }
            }
        }
        if left_out.is_empty() {
            session.terminal.note("every sheet is as it was made");
            return Ok(Ending::Done);
        }
        say(&format!("not read back: {}; rehearse before you rely on them", left_out.join(", ")));
        Ok(Ending::Partly)
    }
}

/// How reading one sheet back ended.
enum ReadBack {
    /// It is as it was made.
    Whole,
    /// Nobody typed it.
    LeftOut,
    /// With Ctrl-C.
    Interrupted,
}

/// Has a sheet typed as it was made; a person who has it wrong is asked again.
fn read_sheet_back(sheet: &str, wanted: &str) -> Result<ReadBack, Fault> {
    loop {
        let Some(typed) = type_line(sheet)? else { return Ok(ReadBack::Interrupted) };
        if typed.is_empty() {
            return Ok(ReadBack::LeftOut);
        }
        match handing::parse(&typed) {
            Ok(share) if Commitment::of(&share).to_string() == wanted => return Ok(ReadBack::Whole),
            Ok(_) => say("this is another sheet than the one that was made"),
            Err(error) => {
                say(&error.to_string());
                handing::hint(&error);
            }
        }
    }
}

/// The shares of an answer, each the one that it says it is.
fn read(client: &Client, made: &VaultShares, total: usize) -> Result<Vec<Words>, Fault> {
    let nonsense =
        |reason: &str| Fault::Answer { server: client.server().to_string(), reason: reason.to_owned() };
    let words = made.words.iter().map(|words| Words::parse(words.expose()));
    let words = words.collect::<Result<Vec<_>, _>>().map_err(|_| nonsense("a share that is none"))?;
    let fit = words.iter().map(|share| Commitment::of(share).to_string()).eq(made
        .sharing
        .commitments
        .iter()
        .cloned());
    if words.len() != total || !fit {
        return Err(nonsense("shares that are not those of its commitments"));
    }
    Ok(words)
}

/// The number and what a file can be called of the name.
fn file_name(number: usize, holder: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || "-_".contains(c) { c } else { '-' };
    let holder: String = holder.chars().take(FILE_CHARS_MAX).map(plain).collect();
    format!("{number:02}-{holder}")
}

fn holder(text: &str) -> Result<String, String> {
    let fits = (1..=HOLDER_CHARS_MAX).contains(&text.chars().count());
    if fits && text.trim() == text && text.chars().all(is_safe) {
        return Ok(text.to_owned());
    }
    Err(format!("not a name of 1 to {HOLDER_CHARS_MAX} visible characters"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_holder_cannot_leave_the_folder() {
        for (holder, name) in
            [("Zoë", "01-Zoë"), ("../../etc/x", "01-------etc-x"), ("a b.c", "01-a-b-c"), ("/", "01--")]
        {
            assert_eq!(file_name(1, holder), name);
            assert_eq!(Path::new(&file_name(1, holder)).components().count(), 1);
        }
    }

    #[test]
    fn a_holder_has_a_visible_name() {
        assert!(holder("Zoë of Berlin").is_ok());
        for bad in ["", " a", "a\u{1b}[2J", "a\nb", &"a".repeat(65)] {
            assert!(holder(bad).is_err(), "{bad:?}");
        }
    }
}
