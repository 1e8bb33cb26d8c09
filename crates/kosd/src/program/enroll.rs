//! `kosd enroll`: from a ticket, or from the lobby, to the first certificate.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use kos_base::{code, text::reason};
use kos_identity::enrolment::{
    device::RETRY_MAX,
    ticket::{TICKET_CHARS_MAX, TicketText},
};
use kosd::{
    life::{Device, News, NewsReceiver, Options},
    socket::Question,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};
use zeroize::Zeroizing;

use super::{Failure, credentials, options, print, say, stop_signal, terminal::Terminal};

/// How long an authority that does not answer is tried before the command gives up. What was begun goes on with the
/// next `kosd enroll` or `kosd run`.
const UNREACHABLE_MAX: Duration = Duration::from_secs(60);

/// Name of the ticket among the credentials of a service.
const CREDENTIAL: &str = "kos.ticket";

pub(super) async fn enroll(root: &Path, ticket_file: Option<&Path>) -> Result<(), Failure> {
    let ticket = read_ticket(ticket_file)?;
    // Not before the question, which a signal is to end at once.
    let interrupted = stop_signal()?;
    let (device, news) = Device::boot(root, Options { ticket, ..options() })?;
    // It may have been killed after its last step and before it said so.
    if let Some(id) = device.enrolled() {
        say("this device is enrolled already");
        return print(&format!("{id}\n"));
    }
    let asker = device.asker();
    let (stop, stopped) = oneshot::channel::<()>();
    let watching = async {
        let watched = watch(news, &asker).await;
        drop(stop);
        watched
    };
    let running = device.run(async {
        tokio::select! {
            _ = stopped => {}
            () = interrupted => {}
        }
    });
    let (ran, watched) = tokio::join!(running, watching);
    ran?;
    watched
}

async fn watch(mut news: NewsReceiver, asker: &mpsc::Sender<Question>) -> Result<(), Failure> {
    let mut give_up = Instant::now() + UNREACHABLE_MAX;
    let mut waiting = false;
    loop {
        let unreachable = || Failure::new(code::config::UNREACHABLE, "the authority does not answer");
        // Without news the device has been stopped: nothing is left to say.
        let Some(told) = timeout_at(give_up, news.recv()).await.map_err(|_| unreachable())? else {
            return Ok(());
        };
        match told {
            News::Unreachable => {}
            // The authority names the pause until it is asked again.
            News::Waiting => give_up = Instant::now() + RETRY_MAX + UNREACHABLE_MAX,
            _ => give_up = Instant::now() + UNREACHABLE_MAX,
        }
        match told {
            News::Enrolled(device) => return print(&format!("{device}\n")),
            News::Code(digits) => compare(&digits, asker),
            News::Waiting => {
                if !waiting {
                    say("waiting until somebody lets this device in (kosctl device approve)");
                }
                waiting = true;
            }
            News::Refused(code) | News::Untrusted(code) | News::Setback(code) => {
                return Err(Failure::new(code, ""));
            }
            News::Renewed(_) | News::Heartbeat | News::Unreachable | News::Ended(_) => {}
        }
    }
}

/// Asks a person whether both ends show the same digits. Without one nothing is accepted.
fn compare(digits: &str, asker: &mpsc::Sender<Question>) {
    say(&format!("this device shows the code {digits}"));
    let (asker, digits) = (asker.clone(), digits.to_owned());
    // A thread of its own: the program may end while nobody answers.
    std::thread::spawn(move || {
        let Some(mut terminal) = Terminal::open() else { return };
        let answer = terminal.ask("does the authority show the same code? [y/N] ");
        if answer.is_ok_and(|answer| matches!(answer.trim(), "y" | "Y" | "yes")) {
            let (reply, _) = oneshot::channel();
            // The device may have been stopped meanwhile.
            drop(asker.blocking_send(Question::ConfirmCode(digits, reply)));
        }
    });
}

/// The ticket from the file, standard input, the credentials of the service or a prompt. Nothing at all means that the
/// device asks to be let in.
fn read_ticket(file: Option<&Path>) -> Result<Option<TicketText>, Failure> {
    let unreadable = |error: io::Error| Failure::new(code::config::FILE_UNREADABLE, reason(&error));
    let credential = credential();
    let text = match (file, Terminal::open()) {
        (Some(path), _) => read_file(path)?,
        (None, Some(mut terminal)) if io::stdin().is_terminal() && credential.is_none() => {
            terminal.ask_secretly("enrolment ticket (empty to wait in the lobby): ").map_err(unreadable)?
        }
        (None, _) if io::stdin().is_terminal() => Zeroizing::default(),
        (None, _) => read_text(io::stdin().lock()).map_err(unreadable)?,
    };
    let text = match (file, &credential) {
        (None, Some(path)) if text.trim().is_empty() => read_file(path)?,
        (None, None) if text.trim().is_empty() => return Ok(None),
        _ => text,
    };
    // The URL form of a ticket carries it as the fragment.
    let ticket = text.trim().rsplit('#').next().unwrap_or_default();
    TicketText::parse(ticket).map(Some).map_err(|error| Failure::new(error.code(), error.to_string()))
}

/// The credential with the ticket, if whoever started us gave one: systemd's `LoadCredential=kos.ticket:FILE`.
fn credential() -> Option<PathBuf> {
    let path = credentials()?.join(CREDENTIAL);
    path.is_file().then_some(path)
}

fn read_file(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let named = |error: io::Error| {
        Failure::new(code::config::FILE_UNREADABLE, format!("{}: {}", path.display(), reason(&error)))
    };
    read_text(File::open(path).map_err(named)?).map_err(named)
}

/// Reads a little more than any ticket has, so that one that is too long is noticed.
fn read_text(from: impl Read) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(4 * TICKET_CHARS_MAX));
    let most = u64::try_from(4 * TICKET_CHARS_MAX).unwrap_or(u64::MAX);
    from.take(most).read_to_string(&mut text)?;
    Ok(text)
}
