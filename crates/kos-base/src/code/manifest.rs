//! 07: manifests and what devices hold of them.

super::codes! {
    MANIFEST_REFUSES = 790, "a manifest does not allow this", Refused, "kosctl policy explain DEVICE --door send tells which rule decides";
    MANIFEST_INVALID = 791, "this is no manifest", Usage, "kosctl policy lint FILE tells what is wrong with each rule";
    MANIFEST_NO_DOOR = 792, "a rule is about something that nothing decides yet", Refused, "take the rule out: docs/spec/manifest.md says which actions have doors";
    MANIFEST_OLDER = 793, "this version of the manifest, or a newer one, was applied already", Conflict, "give it a higher version: kosctl policy list --manifests tells the one in force";
    MANIFEST_LIMIT = 794, "the manifest is over a limit", Usage, "make it smaller: docs/spec/manifest.md tells the limits";
    MANIFEST_UNKNOWN = 795, "there is no such manifest", NotFound, "kosctl policy list --manifests lists them";
    SLICE_UNSOUND = 796, "what came of the manifests is damaged or not for this device", Trust, "the device keeps what it holds: look at the log of the authority";
    SLICE_OLDER = 797, "what came of the manifests is older than what the device holds", Trust, "after a restore, apply the manifests again: that gives them a higher number";
}
