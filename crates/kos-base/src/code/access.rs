//! 08, from 70 on: who may do what.

super::codes! {
    NOT_ENTITLED = 870, "this needs other rights than yours", Refused, "ask somebody with that role, or an administrator for it: docs/guide/first-fleet.md#people";
}
