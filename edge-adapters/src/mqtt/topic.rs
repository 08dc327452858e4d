//! Topics, topic filters and templates of the configuration. Pure.
//!
//! A filter is what MQTT knows (MQTT 3.1.1, section 4.7): levels between slashes, `+` for any one level, `#` at the
//! end for all further ones. A template may also hold `{name}` levels; the configuration lists what each of them
//! may be, so that one entry stands for several streams, and all streams are known before the first message.

use std::collections::{BTreeMap, HashMap};

/// A topic or a filter is at most this long, so that it fits into the address of a descriptor.
pub const TOPIC_BYTES_MAX: usize = 160;

/// A topic filter, valid by section 4.7.1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Filter(String);

impl Filter {
    /// A filter.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() || text.len() > TOPIC_BYTES_MAX {
            return Err("a topic has 1 to 160 bytes");
        }
        if text.chars().any(char::is_control) {
            return Err("a topic holds no control characters");
        }
        let last = text.split('/').count() - 1;
        for (at, level) in text.split('/').enumerate() {
            if level == "#" && at != last {
                return Err("# stands at the end only");
            }
            if level.len() > 1 && level.contains(['+', '#']) {
                return Err("+ and # fill a whole level");
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// As MQTT writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Does it name one topic only?
    pub fn is_plain(&self) -> bool {
        !self.0.contains(['+', '#'])
    }

    /// Is this topic one of those that it names?
    pub fn matches(&self, topic: &str) -> bool {
        // Section 4.7.2: what a broker says of itself is asked for by its name only.
        if topic.starts_with('$') && self.0.starts_with(['+', '#']) {
            return false;
        }
        let mut levels = topic.split('/');
        for wanted in self.0.split('/') {
            match (wanted, levels.next()) {
                // It names its parent too: `a/#` matches `a`.
                ("#", _) => return true,
                ("+", Some(_)) => {}
                (wanted, Some(level)) if wanted == level => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }

    /// Does each topic that the other names belong to this one too?
    pub fn covers(&self, other: &Self) -> bool {
        let mut theirs = other.0.split('/');
        for wanted in self.0.split('/') {
            match (wanted, theirs.next()) {
                ("#", _) => return true,
                ("+", Some(level)) if level != "#" => {}
                (wanted, Some(level)) if wanted == level => {}
                _ => return false,
            }
        }
        theirs.next().is_none()
    }

    /// Is there a topic that both name?
    pub fn overlaps(&self, other: &Self) -> bool {
        let (mut ours, mut theirs) = (self.0.split('/'), other.0.split('/'));
        loop {
            match (ours.next(), theirs.next()) {
                (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
                (Some("+"), Some(_)) | (Some(_), Some("+")) => {}
                (Some(a), Some(b)) if a == b => {}
                _ => return false,
            }
        }
    }
}

/// What to subscribe to, so that each topic of `filters` comes, and each message once: a filter that another covers
/// is left out, since brokers may send a message once for each filter that names it (section 3.3.5).
///
/// # Errors
/// Two filters that name some topics both, and neither covers the other.
pub fn subscriptions(filters: &[Filter]) -> Result<Vec<Filter>, (Filter, Filter)> {
    let mut kept: Vec<Filter> = Vec::new();
    for filter in filters {
        if kept.iter().any(|other| other.covers(filter)) {
            continue;
        }
        kept.retain(|other| !filter.covers(other));
        kept.push(filter.clone());
    }
    for (at, one) in kept.iter().enumerate() {
        if let Some(other) = kept[at + 1..].iter().find(|other| one.overlaps(other)) {
            return Err((one.clone(), other.clone()));
        }
    }
    Ok(kept)
}

/// One stream of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expanded {
    /// Its name.
    pub name: String,
    /// The topics that feed it.
    pub topic: Filter,
}

/// An entry with its `{name}` levels filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expansion {
    /// Its streams, at least one.
    pub streams: Vec<Expanded>,
    /// What is subscribed to for it: `+` for each `{name}`, so that a machine which nobody listed is noticed.
    pub filter: Filter,
}

/// Why an entry cannot be expanded: the key that is wrong, and what is expected.
pub type Wrong = (&'static str, String);

/// Fills in the `{name}` levels of `topic`, and `{name}` in `name`, with each combination that `each` lists; at most
/// `streams_max`.
///
/// # Errors
/// What is wrong.
pub fn expand(
    name: &str,
    topic: &str,
    each: &BTreeMap<String, Vec<String>>,
    streams_max: usize,
) -> Result<Expansion, Wrong> {
    let placeholders: Vec<&str> = topic.split('/').filter_map(placeholder).collect();
    check_values(&placeholders, each)?;
    let wrong = |why: &str| {
        ("topic", format!("a topic, filter or template such as plant/line1/{{machine}}/state: {why}"))
    };
    let filter: Vec<&str> =
        topic.split('/').map(|level| if placeholder(level).is_some() { "+" } else { level }).collect();
    let filter = Filter::new(&filter.join("/")).map_err(wrong)?;
    let mut streams = vec![(name.to_owned(), topic.to_owned())];
    for (placeholder, values) in each {
        let mark = format!("{{{placeholder}}}");
        if streams.len().saturating_mul(values.len()) > streams_max {
            return Err(("each", format!("at most {streams_max} streams from one entry")));
        }
        let with = |(name, topic): &(String, String)| -> Vec<(String, String)> {
            values.iter().map(|value| (name.replace(&mark, value), fill(topic, placeholder, value))).collect()
        };
        streams = streams.iter().flat_map(with).collect();
    }
    let streams = streams
        .into_iter()
        .map(|(name, topic)| Ok(Expanded { name, topic: Filter::new(&topic).map_err(wrong)? }))
        .collect::<Result<_, Wrong>>()?;
    Ok(Expansion { streams, filter })
}

/// The name within a `{name}` level.
fn placeholder(level: &str) -> Option<&str> {
    level.strip_prefix('{')?.strip_suffix('}')
}

/// `topic` with the level `{name}` as `value`.
fn fill(topic: &str, name: &str, value: &str) -> String {
    let levels: Vec<&str> =
        topic.split('/').map(|level| if placeholder(level) == Some(name) { value } else { level }).collect();
    levels.join("/")
}

fn check_values(placeholders: &[&str], each: &BTreeMap<String, Vec<String>>) -> Result<(), Wrong> {
    for name in placeholders {
        if each.get(*name).is_none_or(Vec::is_empty) {
            return Err((
                "each",
                format!("what {{{name}}} of the topic may be, such as {{ {name} = [\"line1\"] }}"),
            ));
        }
    }
    for (name, values) in each {
        if !placeholders.contains(&name.as_str()) {
            return Err(("each", format!("only names that stand as {{name}} in the topic, not {name:?}")));
        }
        let is_level = |value: &String| {
            !value.is_empty()
                && !value.contains(['/', '+', '#', '{', '}'])
                && !value.contains(char::is_control)
        };
        if let Some(value) = values.iter().find(|value| !is_level(value)) {
            return Err(("each", format!("single levels of a topic without + and #, not {value:?}")));
        }
    }
    Ok(())
}

/// Which streams a topic feeds.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    plain: HashMap<String, Vec<usize>>,
    others: Vec<(Filter, usize)>,
}

impl Routes {
    /// Of streams with these topics, in order.
    pub fn new<'a>(topics: impl IntoIterator<Item = &'a Filter>) -> Self {
        let mut routes = Self::default();
        for (stream, topic) in topics.into_iter().enumerate() {
            if topic.is_plain() {
                routes.plain.entry(topic.as_str().to_owned()).or_default().push(stream);
            } else {
                routes.others.push((topic.clone(), stream));
            }
        }
        routes
    }

    /// The streams, by their places.
    pub fn of(&self, topic: &str) -> Vec<usize> {
        let mut streams = self.plain.get(topic).cloned().unwrap_or_default();
        streams.extend(
            self.others.iter().filter(|(filter, _)| filter.matches(topic)).map(|(_, stream)| *stream),
        );
        streams
    }
}
