//! For programs that write a configuration: comments that hold what devices say of themselves.

/// Where comments are wrapped.
const COLUMNS: usize = 110;

/// Without what could begin a new line, or turn round or hide text on a screen.
pub fn one_line(text: &str) -> String {
    let is_shown = |letter: &char| {
        !letter.is_control()
            && !matches!(*letter, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}')
    };
    text.chars().filter(is_shown).collect()
}

/// A comment, wrapped.
pub fn comment(text: &str) -> String {
    let mut lines = String::new();
    let mut line = "#".to_owned();
    let indent = text.len() - text.trim_start().len();
    for word in one_line(text).split(' ').skip(indent) {
        if line.len() + 1 + word.len() > COLUMNS && line.len() > 1 {
            lines += &line;
            lines.push('\n');
            "#".clone_into(&mut line);
        }
        line.push(' ');
        line += word;
    }
    lines += line.trim_end();
    lines.push('\n');
    lines
}
