//! Listening elsewhere: decided, tried, recorded and only then opened.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{extract::State, response::Response};
use kos_api::{
    authority::{Authority, Listen, SetListen},
    plan::{Change as Difference, Plan},
};
use kos_base::{code, text::reason};
use kos_net::endpoints::Host;
use tokio::net::TcpListener;

use super::{
    answer::{Refusal, document},
    authority::describe,
    call::{Call, Mode},
    change::{Attempt, commit, given_before},
    lifecycle::Demanded,
};
use crate::{
    authority::{Place, Shared},
    clock,
    record::SystemChange,
    store::Setting,
    writer::{SystemWrite, Transaction},
};

pub(super) async fn listen(
    State(shared): State<Arc<Shared>>,
    call: Call<Demanded<SetListen>>,
) -> Result<Response, Refusal> {
    let id = call.id;
    // Carried to its end even when the caller goes away: the doors and the record have to agree.
    let moving = tokio::spawn(carry_out(shared, call));
    moving.await.map_err(|_| Refusal::new(code::config::INTERNAL))?.map_err(|refusal| refusal.under(id))
}

async fn carry_out(shared: Arc<Shared>, call: Call<Demanded<SetListen>>) -> Result<Response, Refusal> {
    if let Some(response) = given_before(&shared, &call).await? {
        return Ok(response);
    }
    let to = wanted(call.body.get()?)?;
    let from = shared.place.borrow().clone();
    if to.address != from.address {
        try_out(to.address).await?;
    }
    if call.mode == Mode::Plan {
        return Ok(document(plan(&call, &from, &to)));
    }
    let shown = Authority { listen: shown(&to), ..describe(&shared)? };
    if to == from {
        return Ok(document(shown));
    }
    let bound = shared.doors.bind(to.clone()).await.map_err(|e| unusable(to.address, &e))?;
    let (address, advertise) = (to.address.to_string(), to.advertise);
    let change = SystemChange::ListenChanged { address: address.clone(), advertise: advertise.clone() };
    let transaction = Transaction {
        at: clock::now(),
        actor: call.who.actor(),
        changes: vec![change.into()],
        writes: Vec::new(),
        system: vec![
            SystemWrite::Setting(Setting::ListenAddress, Some(address)),
            SystemWrite::Setting(Setting::Advertise, advertise),
        ],
        answer: None,
    };
    match commit(&shared, &call, transaction, move |_| shown.clone()).await? {
        Attempt::Done(_, response) => {
            bound.open().await;
            Ok(response)
        }
        Attempt::Conflict => Err(Refusal::new(code::store::STORE_CONFLICT)),
    }
}

/// The place that was asked for. What listens beyond this machine has a name or address that others can use.
fn wanted(asked: &SetListen) -> Result<Place, Refusal> {
    let bad = |why: &str| Refusal::new(code::config::BAD_REQUEST).saying(why);
    let address: IpAddr = asked.address.parse().map_err(|_| bad("`address` is not an IP address"))?;
    if address.is_multicast() {
        return Err(bad("nobody can listen on a multicast address"));
    }
    let advertise = match &asked.advertise {
        Some(name) => {
            let host: Host = name.parse().map_err(|_| bad("`advertise` is not a host name or address"))?;
            match host {
                Host::Name(name) => Some(name),
                Host::Address(host) if host.is_unspecified() || host.is_multicast() => {
                    return Err(bad("nobody can be reached by the address in `advertise`"));
                }
                Host::Address(host) => Some(host.to_string()),
            }
        }
        None if address.is_unspecified() => {
            return Err(bad("say in `advertise` by which name or address devices reach the authority"));
        }
        None if address.is_loopback() => None,
        None => Some(address.to_string()),
    };
    let place = Place { address, advertise };
    let is_named = place.advertise.is_none() || (!place.names().is_empty() && place.publication(1).is_some());
    if is_named { Ok(place) } else { Err(bad("`advertise` cannot stand in a certificate")) }
}

/// Whether this machine has the address, asked before anything is closed.
async fn try_out(address: IpAddr) -> Result<(), Refusal> {
    let tried = TcpListener::bind(SocketAddr::new(address, 0)).await;
    tried.map(drop).map_err(|e| unusable(address, &e))
}

fn unusable(address: IpAddr, error: &std::io::Error) -> Refusal {
    Refusal::new(code::config::PORT_TAKEN).saying(&format!("cannot listen on {address}: {}", reason(error)))
}

fn shown(place: &Place) -> Listen {
    Listen { address: place.address.to_string(), advertise: place.advertise.clone() }
}

fn plan<T>(call: &Call<T>, from: &Place, to: &Place) -> Plan {
    let (from, to) = (shown(from), shown(to));
    let fields =
        [("address", Some(from.address), Some(to.address)), ("advertise", from.advertise, to.advertise)];
    let different = fields.into_iter().filter(|(_, from, to)| from != to);
    let changes: Vec<_> =
        different.map(|(field, from, to)| Difference { field: field.to_owned(), from, to }).collect();
    let effects = if changes.is_empty() { Vec::new() } else { vec!["log: listen_changed".to_owned()] };
    Plan { action: call.route.name.to_owned(), object: None, changes, effects }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_beyond_this_machine_has_a_name_that_certificates_can_bear() {
        let asked = |address: &str, advertise: Option<&str>| SetListen {
            address: address.to_owned(),
            advertise: advertise.map(str::to_owned),
        };
        for (address, advertise, expected) in [
            ("127.0.0.1", None, None),
            ("127.0.0.1", Some("Attic.Example."), Some("attic.example")),
            ("0.0.0.0", Some("192.0.2.7"), Some("192.0.2.7")),
            ("::", Some("[2001:db8::7]"), Some("2001:db8::7")),
            ("192.0.2.7", None, Some("192.0.2.7")),
        ] {
            let place = wanted(&asked(address, advertise)).unwrap();
            assert_eq!(place.advertise.as_deref(), expected, "{address} {advertise:?}");
        }
        for (address, advertise) in [
            ("0.0.0.0", None),
            ("::", None),
            ("attic", None),
            ("224.0.0.1", None),
            ("0.0.0.0", Some("0.0.0.0")),
            ("0.0.0.0", Some("a b")),
            ("0.0.0.0", Some("attic:8641")),
        ] {
            assert!(wanted(&asked(address, advertise)).is_err(), "{address} {advertise:?}");
        }
    }
}
