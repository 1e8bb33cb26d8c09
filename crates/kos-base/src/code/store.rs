//! 01: the store.

super::codes! {
    STORE_OPEN = 101, "the store cannot be opened", Other, "check the folder and its permissions";
    STORE_LOCKED = 102, "the store is in use", Conflict, "stop the other authority on this data";
    STORE_DAMAGED = 103, "the store is damaged", Trust, "stop, keep a copy, and follow docs/guide/backup.md";
    STORE_FULL = 104, "the disk is full", Other, "free space; nothing was changed";
    STORE_NEWER = 105, "the store was written by a newer version", Other, "use that version or a newer one";
    STORE_CONFLICT = 106, "somebody else changed it first", Conflict, "read it again and repeat";
    STORE_FAILED = 107, "the store failed", Other, "look at the log of the authority; nothing was acknowledged";
}
