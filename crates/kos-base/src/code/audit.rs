//! 05: the audit log.

super::codes! {
    LOG_EDITED = 501, "a log entry was changed", Trust, "keep this copy as evidence and compare it with another";
    LOG_TORN = 502, "the log ends inside an entry", Trust, "restart the authority: it recovers what was acknowledged";
    LOG_CHECKPOINT = 503, "the checkpoint is not valid", Trust, "get it again, with the right key";
    LOG_FORKED = 504, "the log was forked", Trust, "keep both copies as evidence";
    LOG_REWOUND = 505, "the log is shorter than it was", Trust, "find out who restored or cut it";
    LOG_PROOF = 506, "the proof does not hold", Trust, "ask for it again";
    LOG_ENTRY_TOO_LARGE = 507, "the log entry is too large", Usage, "send less detail";
    LOG_NO_SUCH_ENTRY = 508, "no such log entry", NotFound, "kosctl audit list";
    LOG_DIFFERS = 509, "the log differs from the signed state and is not extended", Trust, "stop, keep a copy, and verify: kosctl audit verify";
    LOG_SIGNATURE = 510, "the log's key did not sign this", Trust, "keep it as evidence, and check that the key is that of this log";
    LOG_DELETED = 511, "log entries are missing", Trust, "keep this copy as evidence and compare it with another";
    LOG_REORDERED = 512, "log entries stand in another order", Trust, "keep this copy as evidence and compare it with another";
    LOG_TRUNCATED = 513, "the last entries of the log are missing", Trust, "keep this copy as evidence and compare it with another";
    LOG_ENTRY_MALFORMED = 514, "the log entry is not well formed", Usage, "use a version as new as the one that wrote it";
    LOG_VALUE_ERASED = 515, "the value was erased", NotFound, "nobody can bring it back; the entry itself stays provable";
    LOG_VERIFIER_KEY = 516, "the verifier key of the log is not valid", Usage, "copy it again: kosctl audit checkpoint -o json shows it";
    LOG_TREE = 517, "the hashes of the log cannot be used", Trust, "restart the authority, which writes them again from the entries";
    LOG_UNRECORDED = 570, "a change without a log entry was taken back", Other, "tell the developers what was done: it is a fault of the program";
    LOG_UNSYNCED = 571, "the disk did not keep what was written", Other, "look at the disk and the kernel's log, then start again: what was acknowledged is compared with the log";
}
