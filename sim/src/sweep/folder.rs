//! The folder of a sweep: what was run by which program, and the results that are there.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::scenario::{Grid, Point, Scenario};

const SWEEP: &str = "sweep.json";
const RESULTS: &str = "results.jsonl";
const SCENARIO: &str = "scenario.toml";
const LOCK: &str = ".lock";
/// Differences that are told of a changed scenario.
const DIFFERENCES_MAX: usize = 5;

/// Why a sweep cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or the folder itself.
    #[error("{}: cannot be {what}: {why}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        why: io::Error,
    },
    /// Another process has the folder.
    #[error("{}: another sweep is writing into this folder; wait for it, or give another --out", .0.display())]
    Busy(PathBuf),
    /// The folder holds results of another scenario.
    #[error(
        "{}: this folder holds results of another scenario ({differences}); give another --out, go back to the scenario kept in scenario.toml there, or delete the folder",
        path.display()
    )]
    OtherScenario {
        /// The folder.
        path: PathBuf,
        /// What differs.
        differences: String,
    },
    /// The folder holds results of another program.
    #[error(
        "{}: the results in this folder were made by another build of selvedge-sim ({theirs}, this one is {ours}); give another --out, go on with that build, or delete the folder",
        path.display()
    )]
    OtherProgram {
        /// The folder.
        path: PathBuf,
        /// Version and hash of that program.
        theirs: String,
        /// Of this one.
        ours: String,
    },
    /// The folder is no folder of a sweep, or was changed by somebody.
    #[error("{}: {what}; give another --out or delete the folder", path.display())]
    Damaged {
        /// The file, with its line.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A plot.
    #[error(transparent)]
    Plot(crate::plot::Error),
}

/// One finished run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The number of the run, from 0.
    pub run: usize,
    /// All its parameters.
    pub parameters: Value,
    /// What it measured, by flat names.
    pub results: Map<String, Value>,
}

impl Line {
    /// Of a finished run.
    pub fn new(run: usize, point: &Point, results: Map<String, Value>) -> Self {
        Self { run, parameters: point.task.parameters(), results }
    }
}

/// An open folder. Nobody else can open it until this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Held until the process ends, however it ends.
    _lock: File,
    results: File,
    /// Finished runs by number.
    pub lines: BTreeMap<usize, Line>,
    /// Was the last line torn, and cut off?
    pub was_torn: bool,
}

impl Folder {
    /// Opens or begins the folder of a sweep.
    ///
    /// # Errors
    /// When it holds another sweep, or cannot be used.
    pub fn open(scenario: &Scenario, grid: &Grid, path: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(path).map_err(io(path, "made"))?;
        let options = OpenOptions::new().create(true).truncate(false).read(true).write(true).clone();
        let open = |name: &str| {
            let file = path.join(name);
            options.open(&file).map_err(io(&file, "opened"))
        };
        let lock = open(LOCK)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Busy(path.to_owned())),
            Err(TryLockError::Error(why)) => return Err(io(&path.join(LOCK), "locked")(why)),
        }
        let results = open(RESULTS)?;
        let mut folder =
            Self { path: path.to_owned(), _lock: lock, results, lines: BTreeMap::new(), was_torn: false };
        folder.check_or_begin(scenario, grid)?;
        folder.read(grid)?;
        Ok(folder)
    }

    /// Is it the folder of this sweep by this program? A new one becomes so.
    fn check_or_begin(&self, scenario: &Scenario, grid: &Grid) -> Result<(), Error> {
        let file = self.path.join(SWEEP);
        let ours = identity(scenario, grid)?;
        let known = match std::fs::read_to_string(&file) {
            Ok(text) => {
                serde_json::from_str::<Value>(&text).map_err(|why| self.damaged(SWEEP, why.to_string()))?
            }
            Err(why) if why.kind() == io::ErrorKind::NotFound => {
                if self.results.metadata().map_err(io(&file, "read"))?.len() > 0 {
                    return Err(
                        self.damaged(RESULTS, "got results without sweep.json beside them".to_owned())
                    );
                }
                self.write(SCENARIO, scenario.text.as_bytes())?;
                let text = format!("{}\n", serde_json::to_string_pretty(&ours).expect("a value is JSON"));
                return self.write(SWEEP, text.as_bytes()).map(drop);
            }
            Err(why) => return Err(io(&file, "read")(why)),
        };
        if known["hash"] != ours["hash"] {
            let differences = differences(&known, &ours);
            return Err(Error::OtherScenario { path: self.path.clone(), differences });
        }
        if known["program"] != ours["program"] {
            let (theirs, ours) = (known["program"].to_string(), ours["program"].to_string());
            return Err(Error::OtherProgram { path: self.path.clone(), theirs, ours });
        }
        Ok(())
    }

    /// Takes over the finished runs. A last line without an end is what a killed process leaves: it is cut off.
    fn read(&mut self, grid: &Grid) -> Result<(), Error> {
        let file = self.path.join(RESULTS);
        let mut bytes = Vec::new();
        self.results.read_to_end(&mut bytes).map_err(io(&file, "read"))?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.was_torn = whole < bytes.len();
        if self.was_torn {
            self.results.set_len(whole as u64).map_err(io(&file, "cut"))?;
            self.results.seek(io::SeekFrom::End(0)).map_err(io(&file, "read"))?;
        }
        for (number, line) in bytes[..whole].split_inclusive(|byte| *byte == b'\n').enumerate() {
            let wrong = |what: String| self.damaged(&format!("{RESULTS}:{}", number + 1), what);
            let line: Line = serde_json::from_slice(line)
                .map_err(|why| wrong(format!("got no result of a run: {why}")))?;
            let Some(point) = grid.points.get(line.run) else {
                return Err(wrong(format!("got run {}, expected 0 to {}", line.run, grid.points.len() - 1)));
            };
            if line.parameters != point.task.parameters() {
                return Err(wrong(format!("got other parameters than those of run {}", line.run)));
            }
            self.lines.insert(line.run, line);
        }
        Ok(())
    }

    /// Keeps a finished run, durable when this returns.
    pub(super) fn append(&mut self, run: usize, line: Line) -> Result<(), Error> {
        let file = self.path.join(RESULTS);
        self.results.write_all(&bytes_of(&line)).map_err(io(&file, "written"))?;
        self.results.sync_data().map_err(io(&file, "synced"))?;
        self.lines.insert(run, line);
        Ok(())
    }

    /// Puts the lines into the order of the runs. Nothing can be appended any more.
    pub(super) fn sort(&self) -> Result<PathBuf, Error> {
        let sorted: Vec<u8> = self.lines.values().flat_map(bytes_of).collect();
        self.write(RESULTS, &sorted)
    }

    /// Writes a file of the folder, whole or not at all.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, Error> {
        let (file, begun) = (self.path.join(name), self.path.join(format!(".{name}.new")));
        let write = || -> io::Result<()> {
            let mut new = File::create(&begun)?;
            new.write_all(bytes)?;
            new.sync_data()?;
            std::fs::rename(&begun, &file)
        };
        write().map_err(io(&file, "written"))?;
        Ok(file)
    }

    fn damaged(&self, name: &str, what: String) -> Error {
        Error::Damaged { path: self.path.join(name), what }
    }
}

fn bytes_of(line: &Line) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(line).expect("a line is made of JSON values");
    bytes.push(b'\n');
    bytes
}

fn io(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |why| Error::Io { path, what, why }
}

/// What the results depend on: the parameters of all runs, and the program. Names, comments, expectations and plots of a
/// scenario may change.
fn identity(scenario: &Scenario, grid: &Grid) -> Result<Value, Error> {
    let mut hasher = blake3::Hasher::new_derive_key("selvedge-sim v0 sweep");
    hasher.update(scenario.kind.name().as_bytes());
    for point in &grid.points {
        // This form holds the contents of files too, such as a matrix of delays, and not only their names.
        hasher.update(format!("{:?}\n", point.task).as_bytes());
    }
    let program = std::env::current_exe().and_then(std::fs::read);
    let program = program.map_err(io(Path::new("selvedge-sim"), "read"))?;
    let program = blake3::hash(&program).to_hex()[..16].to_owned();
    let values = |key: usize| -> Vec<&Value> {
        let mut values = Vec::new();
        for point in &grid.points {
            if !values.contains(&&point.values[key]) {
                values.push(&point.values[key]);
            }
        }
        values
    };
    let keys: Map<String, Value> =
        grid.keys.iter().enumerate().map(|(number, key)| (key.clone(), json!(values(number)))).collect();
    Ok(json!({
        "name": scenario.name,
        "kind": scenario.kind.name(),
        "parameters": scenario.task.parameters(),
        "grid": keys,
        "seeds": grid.seeds,
        "runs": grid.points.len(),
        "hash": hasher.finalize().to_hex().to_string(),
        "program": format!("{} {program}", env!("CARGO_PKG_VERSION")),
    }))
}

/// What differs between two sweeps, for a reader.
fn differences(theirs: &Value, ours: &Value) -> String {
    let flat = |value: &Value| {
        let mut flat = BTreeMap::new();
        flatten("", value, &mut flat);
        flat
    };
    let (theirs, ours) = (flat(theirs), flat(ours));
    let keys = theirs.keys().chain(ours.keys().filter(|key| !theirs.contains_key(*key)));
    let nothing = || "nothing".to_owned();
    let different: Vec<String> = keys
        .filter(|key| !["name", "hash", "program", "runs"].contains(&key.as_str()))
        .filter(|key| theirs.get(*key) != ours.get(*key))
        .map(|key| {
            let [theirs, ours] = [&theirs, &ours].map(|side| side.get(key).cloned().unwrap_or_else(nothing));
            format!("{key} was {theirs} and is {ours} now")
        })
        .collect();
    match different.len() {
        0 => "a file that it names has changed".to_owned(),
        1..=DIFFERENCES_MAX => different.join("; "),
        more => format!("{}; and {} more", different[..DIFFERENCES_MAX].join("; "), more - DIFFERENCES_MAX),
    }
}

fn flatten(prefix: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(object) => {
            for (key, inner) in object {
                let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&name, inner, into);
            }
        }
        single => {
            into.insert(prefix.to_owned(), single.to_string());
        }
    }
}
