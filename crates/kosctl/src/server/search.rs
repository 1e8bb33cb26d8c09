//! Which server is meant. What was said for this command goes before the environment, and both before what was saved.

use std::path::{Path, PathBuf};

use super::{Credentials, ParseServerError, Server};
use crate::{Fault, context::Contexts};

/// Where a data folder has the socket of its authority.
pub(crate) const SOCKET_IN_DATA: &str = "authority/run/authority.sock";

/// Everything that can name a server, as the command line and the environment gave it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    /// `--server`
    pub(crate) server: Option<String>,
    /// `KOS_SERVER`
    pub(crate) server_variable: Option<String>,
    /// `--context`, else `KOS_CONTEXT`
    pub(crate) context: Option<String>,
    /// `KOS_DATA_DIR`
    pub(crate) data: Option<PathBuf>,
    /// Data folders that are tried when nothing was said, in this order.
    pub(crate) usual: Vec<PathBuf>,
}

/// The server, and what is needed to be let in.
pub(crate) fn find(places: &Places, contexts: &Contexts) -> Result<(Server, Option<Credentials>), Fault> {
    for (text, said_by) in [(&places.server, "--server"), (&places.server_variable, "KOS_SERVER")] {
        if let Some(text) = text {
            let wrong = |e: ParseServerError| Fault::usage(format!("{said_by}: {e}"), "--server unix:PATH");
            let server: Server = text.parse().map_err(wrong)?;
            let credentials = match (&server, &places.context) {
                (Server::Unix(_), _) => None,
                (Server::Https { .. }, Some(name)) => Some(contexts.credentials(name)?),
                (Server::Https { .. }, None) => contexts.credentials_for(&server)?,
            };
            return Ok((server, credentials));
        }
    }
    if let Some(name) = &places.context {
        return contexts.open(name);
    }
    if let Some(data) = &places.data {
        return Ok((Server::Unix(data.join(SOCKET_IN_DATA)), None));
    }
    if let Some(name) = contexts.current()? {
        return contexts.open(&name);
    }
    let sockets = places.usual.iter().map(|data| data.join(SOCKET_IN_DATA));
    match sockets.clone().find(|socket| is_there(socket)) {
        Some(socket) => Ok((Server::Unix(socket), None)),
        None => Err(Fault::NoServer(sockets.map(|s| s.display().to_string()).collect())),
    }
}

fn is_there(socket: &Path) -> bool {
    std::fs::symlink_metadata(socket).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_that_names_a_server_counts() {
        let root = tempfile::tempdir().unwrap();
        let contexts = Contexts::at(root.path().join("kos"));
        let folder = |name: &str| root.path().join(name);
        std::fs::create_dir_all(folder("b/authority/run")).unwrap();
        std::fs::write(folder("b").join(SOCKET_IN_DATA), "").unwrap();
        let mut places = Places {
            server: Some("unix:/1".into()),
            server_variable: Some("unix:/2".into()),
            context: None,
            data: Some(folder("data")),
            usual: vec![folder("a"), folder("b")],
        };
        let found = |places: &Places| find(places, &contexts).map(|(server, _)| server.to_string());
        let socket = |name: &str| format!("unix:{}", folder(name).join(SOCKET_IN_DATA).display());
        assert_eq!(found(&places).unwrap(), "unix:/1");
        places.server = None;
        assert_eq!(found(&places).unwrap(), "unix:/2");
        places.server_variable = None;
        contexts.save(&"saved".parse().unwrap(), &"unix:/3".parse().unwrap()).unwrap();
        contexts.save(&"current".parse().unwrap(), &"unix:/4".parse().unwrap()).unwrap();
        contexts.make_current(&"current".parse().unwrap()).unwrap();
        places.context = Some("saved".into());
        assert_eq!(found(&places).unwrap(), "unix:/3");
        places.context = None;
        assert_eq!(found(&places).unwrap(), socket("data"));
        places.data = None;
        assert_eq!(found(&places).unwrap(), "unix:/4");
        contexts.remove(&"current".parse().unwrap()).unwrap();
        assert_eq!(found(&places).unwrap(), socket("b"));
        places.usual.pop();
        assert!(matches!(found(&places), Err(Fault::NoServer(looked)) if looked.len() == 1));
        places.server = Some("ftp://x".into());
        assert!(matches!(found(&places), Err(Fault::Usage { .. })));
    }
}
