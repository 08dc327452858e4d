//! `selvedge adapter browse`: the address space of a server as a tree, and chosen variables as a configuration.

mod shown;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use edge_adapters::opcua::browse::file::{Choice, Wish, configuration};
use edge_adapters::opcua::browse::glob::Glob;
use edge_adapters::opcua::browse::{
    DEPTH_MAX, Found, Given, NODES_MAX, NODES_USUAL, Request, Target, browse,
};
use edge_adapters::opcua::security::SECURITIES;

use super::parse_duration;
use crate::cli::{Failed, Globals, start_log};

const AFTER_HELP: &str = "\
Examples:
  selvedge adapter browse opcua opc.tcp://10.0.0.7:4840                              what is there?
  selvedge adapter browse opcua 10.0.0.7 --path 'Objects/Line1/**' --out line1.toml  and a configuration for it
  selvedge adapter test --config line1.toml                                          which is used as it is
  selvedge adapter browse opcua 10.0.0.7 --path '**/Temperature' --select 'nsu=http://example.com/;s=Oven.T' --out oven.toml
  selvedge adapter browse opcua 10.0.0.7 --security Basic256Sha256/SignAndEncrypt --user gateway --password-file pw --pki pki
  selvedge adapter browse opcua 10.0.0.7 --path 'Objects/Server/ServerStatus/**'     what the server says of itself

In a path, * stands for any characters of one name, ? for one, ** for any number of names; a / * ? or \\ that belongs to a \
name is written with \\ before it. Paths and node ids can be copied from what is shown. Nothing is written to the server.

The first secured connection makes a key and a certificate in the folder --pki, and fails: the server must trust that \
certificate (own/cert.der), and you the server's (move it from rejected/ to trusted/, or pin its thumbprint).

Exit codes: 0 variables were found; 1 none, or there is no connection; 2 wrong use, or the file cannot be written.";

const SCHEME: &str = "opc.tcp://";

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    protocol: Protocol,
}

#[derive(Debug, clap::Subcommand)]
enum Protocol {
    /// OPC-UA: objects, variables with type, value, unit and access, methods.
    #[command(after_help = AFTER_HELP)]
    Opcua(Box<OpcuaArgs>),
}

#[derive(Debug, clap::Args)]
struct OpcuaArgs {
    /// Where: opc.tcp://host:port/path, or host, or host and port; port 4840 if not given.
    url: String,
    /// Only what has such a path; may be given several times.
    #[arg(long = "path", default_value = "Objects/**", value_name = "PATTERN")]
    paths: Vec<Glob>,
    /// How many levels below Objects at most.
    #[arg(long, default_value_t = 20, value_parser = count_parser(DEPTH_MAX), value_name = "N")]
    depth: u64,
    /// How many nodes at most.
    #[arg(long, default_value_t = NODES_USUAL as u64, value_parser = count_parser(NODES_MAX), value_name = "N")]
    max_nodes: u64,
    /// Write a configuration into this new file.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Only these into the file, by node id or path; may be given several times. All that is shown, if not given.
    #[arg(long = "select", requires = "out", value_name = "NODE|PATTERN")]
    select: Vec<Choice>,
    /// The name of the device in the file; names of streams begin with it.
    #[arg(long, default_value = "opcua", value_parser = super::parse_name, value_name = "NAME")]
    name: String,
    /// How long a connection, and each answer, may take.
    #[arg(long, default_value = "5s", value_parser = parse_duration, value_name = "DURATION")]
    timeout: Duration,
    #[command(flatten)]
    secured: Secured,
}

#[derive(Debug, clap::Args)]
struct Secured {
    /// What protects the connection.
    #[arg(long, default_value = "None", value_parser = SECURITIES.map(|(name, _)| name), value_name = "POLICY/MODE")]
    security: String,
    /// Who to log in as; anonymous if not given.
    #[arg(long, requires = "password_file", value_name = "NAME")]
    user: Option<String>,
    /// File with the password, or credential:NAME.
    #[arg(long, requires = "user", value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Let the password travel for everybody to read, where the server wants it so.
    #[arg(long, requires = "user")]
    plain_password: bool,
    /// A certificate of the user, in place of a password.
    #[arg(long, requires = "user_key", conflicts_with = "user", value_name = "FILE")]
    user_certificate: Option<PathBuf>,
    /// Its key.
    #[arg(long, requires = "user_certificate", value_name = "FILE")]
    user_key: Option<PathBuf>,
    /// Folder of certificates: own, trusted, rejected; opcua-pki if not given.
    #[arg(long, value_name = "FOLDER")]
    pki: Option<PathBuf>,
    /// Trust the server with this certificate; may be given several times.
    #[arg(long = "server-thumbprint", value_name = "SHA-1")]
    server_thumbprints: Vec<String>,
}

fn count_parser(most: usize) -> clap::builder::RangedU64ValueParser {
    clap::builder::RangedU64ValueParser::new().range(1..=most as u64)
}

/// Runs it.
pub(super) fn run(args: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let Protocol::Opcua(args) = args.protocol;
    start_log("error");
    if let Some(out) = &args.out {
        super::check_new(out)?;
    }
    let target = target(&args)?;
    let request = Request {
        globs: args.paths.clone(),
        depth: usize::try_from(args.depth)?,
        nodes_max: usize::try_from(args.max_nodes)?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = runtime
        .block_on(browse(&target, &request))
        .map_err(|fault| Failed(format!("{}: {fault}", target.url())))?;
    let written = match &args.out {
        Some(out) if found.variables().next().is_some() => {
            Some((out.as_path(), write(out, &found, &target, &args)?))
        }
        _ => None,
    };
    print(&found, written, globals.json)?;
    if found.variables().next().is_none() {
        let paths: Vec<String> = args.paths.iter().map(ToString::to_string).collect();
        return Err(Failed(format!(
            "no variable of {} has a path such as {}; shown is what lies on the way",
            target.url(),
            paths.join(" or ")
        ))
        .into());
    }
    Ok(ExitCode::SUCCESS)
}

/// The keys that a configuration has for the same.
fn target(args: &OpcuaArgs) -> anyhow::Result<Target> {
    let url = if args.url.contains("://") { args.url.clone() } else { format!("{SCHEME}{}", args.url) };
    let secured = &args.secured;
    let file =
        |path: &Option<PathBuf>| path.as_ref().map(|path| from_file(path, args.out.as_deref())).transpose();
    // Said even if nobody says it: the file may lie in another folder.
    let usual = || (secured.security != "None").then(|| PathBuf::from("opcua-pki"));
    let pki = secured.pki.clone().or_else(usual);
    let text = |text: &Option<String>| text.clone().map(Given::Text);
    let is_set = |flag: bool| flag.then_some(Given::Flag(true));
    let given = [
        ("address", Some(Given::Text(url))),
        ("timeout", Some(Given::Text(format!("{}ms", args.timeout.as_millis())))),
        ("security", (secured.security != "None").then(|| Given::Text(secured.security.clone()))),
        ("user", text(&secured.user)),
        ("password_file", file(&secured.password_file)?),
        ("plain_password", is_set(secured.plain_password)),
        ("user_certificate", file(&secured.user_certificate)?),
        ("user_key", file(&secured.user_key)?),
        ("pki", file(&pki)?),
        (
            "server_thumbprints",
            (!secured.server_thumbprints.is_empty())
                .then(|| Given::Texts(secured.server_thumbprints.clone())),
        ),
    ];
    let keys = given.iter().filter_map(|(key, given)| Some((*key, given.as_ref()?)));
    Target::read(keys).map_err(|errors| {
        let all: Vec<String> = errors
            .iter()
            .map(|error| format!("{}: found {}, expected {}", error.key, error.found, error.expected))
            .collect();
        anyhow::anyhow!("{}", all.join("; "))
    })
}

/// A file named here is meant from this folder, one in a configuration from the configuration's.
fn from_file(path: &Path, out: Option<&Path>) -> anyhow::Result<Given> {
    let is_here = out.and_then(Path::parent).is_none_or(|folder| folder.as_os_str().is_empty());
    let is_credential = path.to_str().is_some_and(|text| text.starts_with("credential:"));
    let path = if is_here || is_credential { path.to_owned() } else { std::path::absolute(path)? };
    let text =
        path.to_str().with_context(|| format!("{} is no UTF-8, which a configuration is", path.display()))?;
    Ok(Given::Text(text.to_owned()))
}

/// Writes the configuration; returns how many streams are in it.
fn write(out: &Path, found: &Found, target: &Target, args: &OpcuaArgs) -> anyhow::Result<usize> {
    for choice in &args.select {
        if !found.variables().any(|(at, ..)| choice.is_of(found, at)) {
            return Err(Failed(format!(
                "--select {choice} chose none of the variables; nothing was written"
            ))
            .into());
        }
    }
    let wish = Wish { name: args.name.clone(), only: args.select.clone() };
    let (text, streams) = configuration(found, target, &wish);
    if streams == 0 {
        return Err(Failed("no stream can hold what was chosen; nothing was written".to_owned()).into());
    }
    super::write_new(out, &text)?;
    Ok(streams)
}

fn print(found: &Found, written: Option<(&Path, usize)>, is_json: bool) -> anyhow::Result<()> {
    let text = if is_json { shown::to_json(found, written) } else { shown::to_words(found, written) };
    // Nobody may be reading any more.
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
