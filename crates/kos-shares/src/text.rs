//! Text that holds a share.

use core::fmt;

use zeroize::Zeroizing;

/// Text with a secret in it: wiped when dropped, read only by [`SecretText::expose`], never printed.
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Empty, with room for `bytes`. Text that outgrows its room is moved and leaves a copy behind, unwiped.
    pub(crate) fn with_room(bytes: usize) -> Self {
        Self(Zeroizing::new(String::with_capacity(bytes)))
    }

    pub(crate) fn push(&mut self, text: &str) {
        self.0.push_str(text);
    }

    /// The text, for the one place where it is needed.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Write for SecretText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text);
        Ok(())
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(..)")
    }
}
