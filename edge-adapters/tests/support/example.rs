//! The examples in `edge-adapters/examples`: read as they are, with nothing but addresses and files replaced.

use std::path::Path;

use super::project;

/// The text of an example.
pub(crate) fn example(name: &str) -> String {
    let path = project().join("edge-adapters/examples").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

/// Replaces what must be there, so that a test does not go on with an example that has changed under it.
pub(crate) fn with(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "the example does not say {from:?}");
    text.replace(from, to)
}

/// The same for a file that the example names from its own folder.
pub(crate) fn with_file(text: &str, name: &str, folder: &Path) -> String {
    with(text, &format!("\"{name}\""), &format!("\"{}\"", folder.join(name).display()))
}

/// With the keys that are commented out (`#key = …`, without a space) from this line on, up to the next line that is none.
pub(crate) fn with_keys(text: &str, first: &str) -> String {
    let mut taken = None;
    let lines = text.lines().map(|line| {
        let is_key = line.starts_with('#') && line.as_bytes().get(1).is_some_and(u8::is_ascii_lowercase);
        match taken {
            None if line == format!("#{first}") => taken = Some(true),
            Some(true) if !is_key => taken = Some(false),
            _ => {}
        }
        if taken == Some(true) { &line[1..] } else { line }
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    assert!(taken.is_some(), "the example does not say #{first}");
    text
}
