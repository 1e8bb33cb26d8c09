//! 09, up to 09: the build with the FIPS module.

super::codes! {
    NOT_APPROVED = 900, "this build does not use that algorithm", Refused, "use what is named instead, or a build without the FIPS module: docs/guide/fips.md";
    MODULE_MISSING = 901, "the FIPS module is not in use", Other, "build the program anew: cargo xtask fips";
}
