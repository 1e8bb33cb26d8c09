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
    ALERT_RULES_INVALID = 530, "the rules of alerts cannot be used", Usage, "mend what is named; kosctl audit alerts rules show -o yaml prints those in force";
    ALERT_RULE_ESSENTIAL = 531, "an essential rule does not go by the way", Refused, "name it under `removeEssential`, if that is what you want";
    ALERT_RULES_DAMAGED = 532, "the rules of alerts are not what was signed", Trust, "find out who changed the store, then: kosctl audit alerts rules apply FILE, or reset";
    ALERT_RULES_OLDER = 533, "the rules of alerts are not the newest that were signed", Trust, "find out who put them back, then: kosctl audit alerts rules apply FILE, or reset";
    ALERT_UNKNOWN = 534, "no such alert", NotFound, "kosctl audit alerts list";
    ALERT_NOT_GUARDIAN = 535, "only a guardian acknowledges alerts", Refused, "have an administrator name you: kosctl guardian add NAME --operator NAME";
    GUARDIAN_INVALID = 536, "the guardian cannot be told this way", Usage, "mend what is named; docs/guide/alerts.md shows each way";
    GUARDIAN_UNREACHABLE = 537, "the guardian could not be told", Unreachable, "look whether it runs and can be reached from the authority";
    ALERT_STREAMS = 538, "too many streams of alerts are open", Unreachable, "close one, or come back later";
    LOG_MIRROR = 550, "the copy of the log cannot be continued", Trust, "keep it as it is, verify it (kosctl audit verify --log DIR --key FILE), and begin another";
    LOG_SOURCE_ALTERED = 551, "the source sends something else than its checkpoint signs", Trust, "pull from another source and compare; the copy is as it was";
    LOG_SOURCE_CUT = 552, "the source does not have everything that its checkpoint signs", Trust, "pull from another source; the copy is as it was, and goes on where it stopped";
    LOG_MIRROR_BUSY = 553, "another program writes this copy of the log", Conflict, "wait for it, or end it";
    LOG_TARGET = 554, "this cannot be the target of copies of the log", Usage, "name an absolute folder outside of the authority's data, or an https:// address";
    LOG_TARGET_EXISTS = 555, "there is such a target already", Conflict, "kosctl audit mirror list";
    LOG_NO_SUCH_TARGET = 556, "there is no such target", NotFound, "kosctl audit mirror list";
}
