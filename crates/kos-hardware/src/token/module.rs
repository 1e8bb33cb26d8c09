//! The libraries of tokens that this process has loaded: each once, and for ever.
//!
//! PKCS#11 allows one initialisation a process, and a library that has threads of its own does not outlive being unloaded.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
};

use super::refusal::Trouble;
use crate::HardwareError;

static LOADED: Mutex<BTreeMap<PathBuf, Pkcs11>> = Mutex::new(BTreeMap::new());

pub(super) fn load(path: &Path) -> Result<Pkcs11, HardwareError> {
    let absent = |why: &str| HardwareError::Absent(format!("{}: {why}", path.display()));
    if !path.is_absolute() {
        return Err(absent("the path of a module begins with `/`"));
    }
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(module) = loaded.get(path) {
        return Ok(module.clone());
    }
    let module = Pkcs11::new(path).map_err(|_| absent("this is no PKCS#11 module"))?;
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(error) => return Err(Trouble::Token(error).into()),
    }
    loaded.insert(path.to_owned(), module.clone());
    Ok(module)
}
