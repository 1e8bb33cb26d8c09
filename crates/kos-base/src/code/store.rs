//! 01: the store.

super::codes! {
    STORE_OPEN = 101, "the store cannot be opened", Other, "check the folder and its permissions";
    STORE_LOCKED = 102, "the store is in use", Conflict, "stop the other program that uses this data";
    STORE_DAMAGED = 103, "the store is damaged", Trust, "stop, keep a copy, and follow docs/guide/backup.md";
    STORE_FULL = 104, "the disk is full", Other, "free space; nothing was changed";
    STORE_NEWER = 105, "the store was written by a newer version", Other, "use that version or a newer one";
    STORE_CONFLICT = 106, "somebody else changed it first", Conflict, "read it again and repeat";
    STORE_FAILED = 107, "the store failed", Other, "look at the log of the authority; nothing was acknowledged";
    BACKUP_DAMAGED = 108, "the backup is damaged", Trust, "take another one; `kosctl backup verify FILE` says whether it is whole";
    BACKUP_KEY = 109, "the passphrase or key does not open this backup", Refused, "use the one that it was made with";
    RESTORED_CLOSED = 110, "the authority was restored and is closed", Conflict, "kosctl backup restore --log DIR, or --declare-loss if nothing newer is left";
    RESTORE_NOT_DUE = 111, "the authority was not restored, or is open already", Conflict, "nothing is to be done";
    RESTORE_LOG = 112, "this log does not continue the one of the backup", Trust, "give the newest copy of the log of this authority that you have";
}
