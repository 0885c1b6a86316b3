//! Every cause of a rejection, declared once.
//!
//! A cause appears in the first line of `countersign explain`, in log lines, and in `extensions.cause`
//! of errors. The reference page `docs/reference/causes.md` is generated from this table.

use std::fmt;
use std::fmt::Write as _;

use super::texts::{Texts, authorization, clock, scope};

/// Declares each cause: variant, name and texts.
macro_rules! causes {
    ($($cause:ident = $name:literal, $texts:expr;)*) => {
        /// Why AWS rejected a request. The names are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Cause {
            $(#[doc = concat!("`", $name, "`")] $cause,)*
        }

        impl Cause {
            /// Every cause, in alphabetical order.
            pub const ALL: &'static [Self] = &[$(Self::$cause,)*];

            /// Returns the stable name, in kebab case.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$cause => $name,)*
                }
            }

            fn texts(self) -> &'static Texts {
                match self {
                    $(Self::$cause => &$texts,)*
                }
            }
        }
    };
}

causes! {
    ClockFast = "clock-fast", clock::FAST;
    ClockSlow = "clock-slow", clock::SLOW;
    HeaderRemoved = "header-removed", authorization::HEADER_REMOVED;
    ScopeDate = "scope-date", scope::DATE;
    WrongRegion = "wrong-region", scope::REGION;
    WrongService = "wrong-service", scope::SERVICE;
}

impl Cause {
    /// Returns the cause with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|cause| cause.as_str() == name)
    }

    /// Returns what is wrong, as one sentence.
    pub fn sentence(self) -> &'static str {
        self.texts().sentence
    }

    /// Returns two to five lines about how it happens.
    pub fn explanation(self) -> &'static str {
        self.texts().explanation
    }

    /// Returns what to do.
    pub fn fix(self) -> &'static str {
        self.texts().fix
    }

    /// Returns code to paste, with the name of its language.
    pub fn code(self) -> &'static [(&'static str, &'static str)] {
        self.texts().code
    }

    /// Returns what to do, followed by the code in each language.
    pub(super) fn fix_with_code(self) -> String {
        let mut text = self.fix().to_owned();
        for (language, code) in self.code() {
            let code = code.replace('\n', "\n    ");
            // Writing to a String cannot fail.
            let _ = write!(text, "\n\n  {language}:\n    {code}");
        }
        text
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
