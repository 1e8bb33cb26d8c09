//! Both machines of enrolment, driven by hand: whoever asks for what is not theirs gets the refusal that is meant for
//! it, and nothing changes.

#![cfg(test)]

mod admission;
mod applicant;
mod attested;
mod boot;
mod continuity;
mod device;
mod downgrade;
mod endings;
mod office;
mod operators;
mod papers;
mod protocol;
mod quarantine;
mod rules;
mod second;
#[path = "../../src/test_keys.rs"]
mod test_keys;
mod vectors;
