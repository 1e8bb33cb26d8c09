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
}
