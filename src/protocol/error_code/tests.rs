//! The catalogue itself.

use super::*;

#[test]
fn every_code_is_declared_once_and_in_order() {
    let names: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(names, sorted);
    for code in Code::ALL {
        assert_eq!(Code::from_name(code.as_str()), Some(*code));
        let is_code = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
        assert!(code.as_str().bytes().all(is_code), "{code}");
        for text in [code.meaning(), code.remedy()] {
            assert!(text.ends_with('.') && text.len() < 120, "{code}: {text}");
        }
        // A code with an HTTP status is received.
        assert!(
            code.status() == Status::None || !code.sent().is_empty(),
            "{code}"
        );
    }
    assert_eq!(Code::from_name("Unauthorized"), None);
}
