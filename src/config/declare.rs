//! How settings are declared.

use super::setting::Setting;
use super::table::{FieldShape, Table};
use super::types::Type;

/// The settings of one table.
pub(super) trait SettingsTable: Sized {
    const SETTINGS: &'static [Setting];

    /// Reads all settings of the table. Reports an invalid value and replaces it by its default, so
    /// that what depends on the others can be checked in the same run. Returns `None` only if a default
    /// is invalid.
    fn read(table: &Table<'_>) -> Option<Self>;
}

/// Whether a field of the shape `S` is a list.
pub(super) const fn is_list<T: Clone, S: FieldShape<T>>(_: &Type<T>) -> bool {
    S::IS_LIST
}

/// Declares the settings of one table as a struct with one field for each:
///
/// ```text
/// /// What it does, in one sentence. More, if needed.
/// key: FieldType = type of the value,
///     default TOML | unset "what holds instead",
///     flag "--name VALUE",
///     only UpstreamKind;
/// ```
macro_rules! settings {
    (
        $(#[$meta:meta])*
        $name:ident {
            $(
                $(#[doc = $doc:literal])+
                $key:ident: $shape:ty = $value:expr
                $(, default $default:tt)?
                $(, unset $unset:literal)?
                $(, flag $flag:literal)?
                $(, only $only:ident)?
                ;
            )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub(in crate::config) struct $name {
            $(
                $(#[doc = $doc])+
                pub(in crate::config) $key: $shape,
            )*
        }

        impl $crate::config::declare::SettingsTable for $name {
            const SETTINGS: &'static [$crate::config::setting::Setting] = &[
                $($crate::config::setting::Setting {
                    key: stringify!($key),
                    doc: concat!($($doc),+),
                    value: &$value,
                    is_list: $crate::config::declare::is_list::<_, $shape>(&$value),
                    default: settings!(@optional $(stringify!($default))?),
                    unset: settings!(@optional $($unset)?),
                    flag: settings!(@optional $($flag)?),
                    only: settings!(@optional $($crate::upstream::UpstreamKind::$only)?),
                },)*
            ];

            fn read(table: &$crate::config::table::Table<'_>) -> Option<Self> {
                // All fields are read before the first `?`, so that every mistake is reported.
                $(
                    let $key = table.read(
                        stringify!($key),
                        &$value,
                        settings!(@optional $(stringify!($default))?),
                    );
                )*
                Some(Self { $($key: $key?,)* })
            }
        }
    };
    (@optional) => { None };
    (@optional $value:expr) => { Some($value) };
}
pub(super) use settings;
