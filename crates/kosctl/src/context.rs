//! Saved servers with their credentials.
//!
//! ```text
//! $XDG_CONFIG_HOME/kos/           0700
//!   current-context               the name of the context in use
//!   contexts/NAME/context.yaml    server: https://HOST:PORT
//!                 root.pem        the root that vouches for the server
//!                 operator.pem    the operator's certificate and its issuing CA
//!                 operator.key    its key, made here, 0600
//! ```
//!
//! A context whose certificate is not there yet waits for it: its key exists, the request is on its way.

use std::path::{Path, PathBuf};

use core::{fmt, str::FromStr};
use kos_api::{Kind, text::OperatorName};
use kos_base::{Timestamp, code, text::printable};
use kos_identity::certificate::{Certificate, PeerIdentity};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    Fault,
    files::{self, Readers},
    server::{Credentials, Server},
};

/// Longest file of a context that is read, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

const SETTINGS: &str = "context.yaml";
const ROOT: &str = "root.pem";
const CERTIFICATES: &str = "operator.pem";
const KEY: &str = "operator.key";
const CURRENT: &str = "current-context";

/// All contexts of a user; none where the user has no home.
#[derive(Clone, Debug)]
pub(crate) struct Contexts {
    root: Option<PathBuf>,
}

/// Name of a context: 1 to 48 of `[a-z0-9._-]`, the first a letter or digit, so that it can be a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContextName(String);

/// A context, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Context {
    /// Its name.
    pub(crate) name: String,
    /// Where the server is.
    pub(crate) server: String,
    /// Whether it is used when nothing else is said.
    pub(crate) current: bool,
    /// As whom.
    pub(crate) operator: Option<OperatorName>,
    /// Until when.
    pub(crate) cert_not_after: Option<Timestamp>,
}

impl Kind for Context {
    const KIND: &'static str = "Context";
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Settings {
    server: String,
}

/// What a certificate file of an authority holds.
pub(crate) struct Bundle {
    /// The operator's certificate and its issuing CA, as PEM.
    pub(crate) certificates: String,
    /// The root, as PEM.
    pub(crate) root: String,
    /// The operator's own.
    pub(crate) own: Certificate,
}

impl Contexts {
    pub(crate) const fn at(root: PathBuf) -> Self {
        Self { root: Some(root) }
    }

    pub(crate) const fn nowhere() -> Self {
        Self { root: None }
    }

    /// The context in use.
    pub(crate) fn current(&self) -> Result<Option<String>, Fault> {
        let Some(root) = &self.root else { return Ok(None) };
        let path = root.join(CURRENT);
        match files::read(&path, FILE_BYTES_MAX) {
            Ok(text) => {
                let name = String::from_utf8_lossy(&text).trim().to_owned();
                Ok(if name.is_empty() { None } else { Some(name) })
            }
            Err(Fault::Unreadable { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                Ok(None)
            }
            Err(fault) => Err(fault),
        }
    }

    /// Uses a context from now on.
    pub(crate) fn make_current(&self, name: &ContextName) -> Result<(), Fault> {
        self.folder(name)?;
        files::write(&self.home()?.join(CURRENT), format!("{name}\n").as_bytes(), Readers::Owner)
    }

    /// The server of a context and what lets us in.
    pub(crate) fn open(&self, name: &str) -> Result<(Server, Option<Credentials>), Fault> {
        let name: ContextName = name.parse()?;
        let folder = self.folder(&name)?;
        let server = settings(&folder)?;
        match server {
            Server::Unix(_) => Ok((server, None)),
            Server::Https { .. } => {
                let credentials = credentials(&folder, &name)?;
                Ok((server, Some(credentials)))
            }
        }
    }

    /// The credentials of a context, whatever its server is.
    pub(crate) fn credentials(&self, name: &str) -> Result<Credentials, Fault> {
        let name: ContextName = name.parse()?;
        credentials(&self.folder(&name)?, &name)
    }

    /// The credentials of the first context whose server is `server`.
    pub(crate) fn credentials_for(&self, server: &Server) -> Result<Option<Credentials>, Fault> {
        let wanted = server.to_string();
        match self.list()?.into_iter().find(|c| c.server == wanted && c.operator.is_some()) {
            Some(context) => self.credentials(&context.name).map(Some),
            None => Ok(None),
        }
    }

    /// Every context, by name.
    pub(crate) fn list(&self) -> Result<Vec<Context>, Fault> {
        let Some(root) = &self.root else { return Ok(Vec::new()) };
        let Ok(folders) = std::fs::read_dir(root.join("contexts")) else { return Ok(Vec::new()) };
        let mut names: Vec<ContextName> =
            folders.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
        names.sort_by(|a, b| a.0.cmp(&b.0));
        names.iter().map(|name| self.show(name)).collect()
    }

    /// One context.
    pub(crate) fn show(&self, name: &ContextName) -> Result<Context, Fault> {
        let folder = self.folder(name)?;
        let own = files::read(&folder.join(CERTIFICATES), FILE_BYTES_MAX).ok();
        let own = own.and_then(|pem| CertificateDer::from_pem_slice(&pem).ok());
        let own = own.and_then(|der| Certificate::parse(&der).ok());
        Ok(Context {
            name: name.0.clone(),
            server: settings(&folder)?.to_string(),
            current: self.current()?.as_deref() == Some(name.0.as_str()),
            operator: own.as_ref().and_then(operator),
            cert_not_after: own.map(|own| own.not_after()),
        })
    }

    /// Saves a server without credentials, or replaces the address of a context.
    pub(crate) fn save(&self, name: &ContextName, server: &Server) -> Result<(), Fault> {
        let folder = self.place(name)?;
        files::create_folder(&folder, Readers::Owner)?;
        let settings = Settings { server: server.to_string() };
        let yaml = serde_saphyr::to_string(&settings).map_err(|e| Fault::Internal(e.to_string()))?;
        files::write(&folder.join(SETTINGS), yaml.as_bytes(), Readers::Owner)
    }

    /// Saves the key of a context, before it has a certificate.
    pub(crate) fn save_key(&self, name: &ContextName, pem: &Zeroizing<String>) -> Result<(), Fault> {
        files::write(&self.folder(name)?.join(KEY), pem.as_bytes(), Readers::Owner)
    }

    /// Saves the certificate of a context whose key is there.
    pub(crate) fn save_bundle(&self, name: &ContextName, bundle: &Bundle) -> Result<(), Fault> {
        let folder = self.folder(name)?;
        files::write(&folder.join(ROOT), bundle.root.as_bytes(), Readers::Owner)?;
        files::write(&folder.join(CERTIFICATES), bundle.certificates.as_bytes(), Readers::Owner)
    }

    /// The key of a context.
    pub(crate) fn key(&self, name: &ContextName) -> Result<Zeroizing<Vec<u8>>, Fault> {
        files::read(&self.folder(name)?.join(KEY), FILE_BYTES_MAX).map(Zeroizing::new)
    }

    /// Forgets a context, its key included.
    pub(crate) fn remove(&self, name: &ContextName) -> Result<(), Fault> {
        let folder = self.folder(name)?;
        if self.current()?.as_deref() == Some(name.0.as_str()) {
            let path = self.home()?.join(CURRENT);
            std::fs::remove_file(&path).map_err(|source| Fault::Unwritable { path, source })?;
        }
        std::fs::remove_dir_all(&folder).map_err(|source| Fault::Unwritable { path: folder, source })
    }

    /// Whether there is a context of this name.
    pub(crate) fn has(&self, name: &ContextName) -> bool {
        self.place(name).is_ok_and(|folder| folder.join(SETTINGS).exists())
    }

    fn home(&self) -> Result<&Path, Fault> {
        let message = "contexts are kept in $XDG_CONFIG_HOME/kos or ~/.config/kos, and neither is known";
        self.root.as_deref().ok_or_else(|| Fault::usage(message, "set HOME or XDG_CONFIG_HOME"))
    }

    fn place(&self, name: &ContextName) -> Result<PathBuf, Fault> {
        Ok(self.home()?.join("contexts").join(&name.0))
    }

    fn folder(&self, name: &ContextName) -> Result<PathBuf, Fault> {
        if self.has(name) {
            return self.place(name);
        }
        Err(Fault::Missing { kind: "context", name: name.0.clone(), fix: "kosctl context list" })
    }
}

fn settings(folder: &Path) -> Result<Server, Fault> {
    let path = folder.join(SETTINGS);
    let text = files::read(&path, FILE_BYTES_MAX)?;
    let malformed = |reason: String| Fault::Malformed {
        path: path.clone(),
        reason: printable(&reason, 200),
        code: code::config::CONFIG_INVALID,
    };
    let settings: Settings = serde_saphyr::from_slice(&text).map_err(|e| malformed(e.to_string()))?;
    settings.server.parse().map_err(|e| malformed(format!("{e}")))
}

fn credentials(folder: &Path, name: &ContextName) -> Result<Credentials, Fault> {
    if !folder.join(CERTIFICATES).exists() {
        return Err(Fault::Missing {
            kind: "certificate in the context",
            name: name.0.clone(),
            fix: "kosctl context add NAME --bundle FILE",
        });
    }
    let root = files::read(&folder.join(ROOT), FILE_BYTES_MAX)?;
    let certificates = files::read(&folder.join(CERTIFICATES), FILE_BYTES_MAX)?;
    let key = Zeroizing::new(files::read(&folder.join(KEY), FILE_BYTES_MAX)?);
    Credentials::from_pem(&root, &certificates, &key).map_err(|reason| Fault::Malformed {
        path: folder.to_owned(),
        reason: reason.to_owned(),
        code: code::config::CONFIG_INVALID,
    })
}

impl Bundle {
    /// Takes the certificates of a PEM file apart: the operator's first, then its issuing CA, and somewhere the root.
    pub(crate) fn read(pem: &[u8]) -> Result<Self, &'static str> {
        let all: Vec<Certificate> = CertificateDer::pem_slice_iter(pem)
            .map(|der| {
                Certificate::parse(&der.map_err(|_| "not PEM of certificates")?)
                    .map_err(|_| "a certificate that cannot be read")
            })
            .collect::<Result<_, _>>()?;
        let (roots, chain): (Vec<_>, Vec<_>) = all.into_iter().partition(Certificate::is_root);
        let [root] = roots.as_slice() else { return Err("not exactly one root") };
        let own =
            chain.first().filter(|own| operator(own).is_some()).ok_or("the first is not an operator's")?;
        Ok(Self {
            certificates: chain.iter().map(Certificate::pem).collect(),
            root: root.pem(),
            own: own.clone(),
        })
    }
}

fn operator(own: &Certificate) -> Option<OperatorName> {
    match own.uris() {
        [uri] => match uri.parse() {
            Ok(PeerIdentity::Operator { name, .. }) => name.as_ref().parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

impl FromStr for ContextName {
    type Err = Fault;

    fn from_str(s: &str) -> Result<Self, Fault> {
        let alphabet = |b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        let starts = s.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if starts && s.len() <= 48 && s.bytes().all(alphabet) {
            return Ok(Self(s.to_owned()));
        }
        let said = printable(s, 60);
        let message = format!("`{said}` is not a context's name (1 to 48 of a-z, 0-9, `.`, `_`, `-`)");
        Err(Fault::usage(message, "kosctl context list"))
    }
}

impl fmt::Display for ContextName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_saved_used_shown_and_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let contexts = Contexts::at(home.path().join("kos"));
        let name: ContextName = "attic".parse().unwrap();
        assert!(contexts.list().unwrap().is_empty());
        assert!(matches!(contexts.make_current(&name), Err(Fault::Missing { .. })));
        contexts.save(&name, &"unix:/run/a.sock".parse().unwrap()).unwrap();
        contexts.make_current(&name).unwrap();
        let shown = contexts.list().unwrap();
        assert_eq!((shown.len(), shown[0].current, shown[0].server.as_str()), (1, true, "unix:/run/a.sock"));
        assert!(contexts.open("attic").unwrap().1.is_none());
        contexts.save(&name, &"https://attic:8641".parse().unwrap()).unwrap();
        assert!(matches!(contexts.open("attic"), Err(Fault::Missing { .. })));
        contexts.remove(&name).unwrap();
        assert_eq!(contexts.current().unwrap(), None);
        assert!(contexts.list().unwrap().is_empty());
    }

    #[test]
    fn a_name_cannot_leave_the_folder() {
        for bad in ["", "..", ".x", "a/b", "A", "a b", &"a".repeat(49)] {
            assert!(bad.parse::<ContextName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_settings_file_with_an_unknown_key_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let contexts = Contexts::at(home.path().to_owned());
        let name: ContextName = "a".parse().unwrap();
        contexts.save(&name, &"unix:/x".parse().unwrap()).unwrap();
        std::fs::write(home.path().join("contexts/a/context.yaml"), "server: unix:/x\ntoken: y\n").unwrap();
        assert!(matches!(contexts.open("a"), Err(Fault::Malformed { .. })));
    }
}
