//! The two kinds of identifier that may ever be stored or disclosed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The kind of a record. The law's category of a disclosure (identification, traffic) is not a
/// property of a record: policy derives it from a request's purpose and scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Category {
    /// A phone number with the instant it was confirmed.
    Phone = 1,
    /// An IP address and port with the instant it was seen.
    Ip = 2,
}

impl Category {
    /// All categories, in order.
    pub const ALL: [Self; 2] = [Self::Phone, Self::Ip];

    /// The byte that enters a canonical encoding.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The category of a byte.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|category| category.code() == code)
    }

    /// Bytes that a plaintext of this category is padded to before sealing, so that a ciphertext's
    /// length says nothing but its category.
    pub fn padded_length(self) -> usize {
        match self {
            Self::Phone => 32,
            Self::Ip => 48,
        }
    }

    /// The word used in APIs and files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::Ip => "ip",
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The text is neither `phone` nor `ip`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a kind is 'phone' or 'ip'")]
pub struct ParseCategoryError;

impl FromStr for Category {
    type Err = ParseCategoryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|category| category.as_str() == text)
            .ok_or(ParseCategoryError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_words_round_trip() {
        for category in Category::ALL {
            assert_eq!(Category::from_code(category.code()), Some(category));
            assert_eq!(category.as_str().parse(), Ok(category));
        }
        assert_eq!(Category::from_code(0), None);
        assert!("email".parse::<Category>().is_err());
    }
}
