//! `kosd decommission`: through the running daemon, or without one.

use std::path::Path;

use kos_api::{
    lifecycle::{Decommission, DecommissionOrder},
    routes::LOCAL_DECOMMISSION,
};
use kos_base::code;
use kos_identity::enrolment::device::Delivery;
use kosd::{
    chain,
    life::{self, Device, News, NewsReceiver},
    socket::{AskError, Asker, Question},
};
use tokio::sync::oneshot;

use super::{Failure, options, print, say, show, stop_signal, terminal::Terminal};

pub(super) async fn decommission(folder: &Path, confirm: Option<String>) -> Result<(), Failure> {
    let root = show::root(folder)?;
    let journal = life::remembered(&root).map_err(|error| Failure::new(error.code(), chain(&error)))?;
    let Some(member) = journal.and_then(|journal| journal.membership) else {
        return Err(Failure::new(code::enrolment::NOT_ENROLLED, ""));
    };
    let (name, id) = (member.name.to_string(), member.device.to_string());
    let typed = match (confirm, Terminal::open()) {
        (Some(typed), _) => typed,
        (None, Some(mut terminal)) => {
            let question = format!("this destroys every key of `{name}` ({id}). Type its name to go on: ");
            terminal.ask(&question).map(|answer| answer.trim().to_owned()).unwrap_or_default()
        }
        (None, None) => String::new(),
    };
    if typed != name && typed != id {
        return Err(Failure::new(code::config::CONFIRM_NEEDED, format!("the name is `{name}`")));
    }
    match Asker::connect(&root.socket()).await {
        Ok(asker) => {
            let done: Decommission = asker.ask(&LOCAL_DECOMMISSION, b"{}".to_vec()).await?;
            print(&format!("{} {}\n", done.device_id, done.state))
        }
        Err(AskError::Absent) => alone(folder).await,
        Err(error) => Err(error.into()),
    }
}

/// Ends the device without a daemon. What its authority could not be told, the next `kosd run` tells.
async fn alone(folder: &Path) -> Result<(), Failure> {
    let (device, news) = Device::boot(folder, options())?;
    let asker = device.asker();
    let (stop, stopped) = oneshot::channel::<()>();
    let ending = async {
        let (reply, answer) = oneshot::channel();
        let stopping = || Failure::new(code::config::INTERNAL, "the device stopped before it was wiped");
        let order = Question::Decommission(DecommissionOrder::default(), reply);
        asker.send(order).await.map_err(|_| stopping())?;
        let done = answer.await.map_err(|_| stopping())?;
        let done = done.map_err(|code| Failure::new(code, ""))?;
        print(&format!("{} {}\n", done.device_id, done.state))?;
        tell_delivery(news).await;
        drop(stop);
        Ok(())
    };
    let interrupted = stop_signal()?;
    let running = device.run(async {
        tokio::select! {
            _ = stopped => {}
            () = interrupted => {}
        }
    });
    let (ran, ended) = tokio::join!(running, ending);
    ran?;
    ended
}

async fn tell_delivery(mut news: NewsReceiver) {
    while let Some(told) = news.recv().await {
        if let News::Ended(delivery) = told {
            say(match delivery {
                Delivery::Recorded => "the authority has recorded it",
                Delivery::Owed => "the authority cannot be reached; the next `kosd run` tells it",
            });
            return;
        }
    }
}
