//! Server and client over a real Unix socket.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use selvedge_core::reading::Value;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::ask::Ask;
use super::client::{Client, ClientError};
use super::socket::{self, SocketError, bind};
use super::{ApiState, CONNECTIONS_MAX, HEAD_BYTES_MAX, serve};
use crate::answers::peers::NetworkState;
use crate::answers::prove::ProofQuery;
use crate::answers::readings::ReadingsQuery;
use crate::answers::status::NodeState;
use crate::answers::testing::{Bench, SECOND, filled, genesis, temperature};
use crate::answers::{AskError, Facts};
use crate::folder::{Contents, Folder};
use crate::store::RealDisk;

/// A server on a socket in a folder of its own.
struct Served {
    path: PathBuf,
    stop: oneshot::Sender<()>,
    server: JoinHandle<std::io::Result<()>>,
    // The snapshot must go on being published.
    _live: watch::Sender<Arc<crate::answers::Live>>,
    _folder: tempfile::TempDir,
}

impl Served {
    async fn start(bench: &Bench) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.sock");
        let listener = bind(&path).await.unwrap();
        let (live_out, live) = watch::channel(Arc::new(bench.live()));
        let state = ApiState::new(bench.answers().reader, Facts::clone(&bench.facts), live);
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async move { drop(stopped.await) };
        let server = tokio::spawn(serve(listener, state, shutdown));
        Self { path, stop, server, _live: live_out, _folder: folder }
    }

    fn client(&self) -> Client {
        Client::new(&self.path)
    }

    async fn end(self) {
        self.stop.send(()).unwrap();
        self.server.await.unwrap().unwrap();
        assert!(!self.path.exists(), "the socket file is removed");
    }

    /// What comes back for these bytes.
    async fn raw(&self, request: Vec<u8>) -> String {
        let path = self.path.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let mut stream = UnixStream::connect(path).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            // The server may have said its word and closed before it got everything.
            let _ = stream.write_all(&request);
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            String::from_utf8_lossy(&answer).into_owned()
        });
        asked.await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_socket_gives_the_answers_of_the_store() {
    let mut bench = Bench::new(1);
    filled(&mut bench);
    let served = Served::start(&bench).await;
    let (client, answers) = (served.client(), bench.answers());

    let status = client.status().await.unwrap();
    assert_eq!(status.state, NodeState::Running);
    assert_eq!(status.backlog.readings, 3);
    assert_eq!(client.streams().await.unwrap().streams, answers.streams(bench.now()).unwrap().streams);
    let tangle = client.tangle(2).await.unwrap();
    assert_eq!(tangle.newest.iter().map(|t| t.number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(tangle.newest[0].witnessed, Some(1));

    for query in [
        ReadingsQuery { stream: Some("tank/level".into()), ..ReadingsQuery::default() },
        ReadingsQuery { stream: Some("tank/text".into()), last: Some(2), ..ReadingsQuery::default() },
        ReadingsQuery { from: Some(bench.now()), ..ReadingsQuery::default() },
        ReadingsQuery::default(),
    ] {
        let mut lines = client.readings(&query).await.unwrap();
        let mut got = Vec::new();
        while let Some(reading) = lines.next().await.unwrap() {
            got.push(reading);
        }
        let expected: Vec<_> = answers.readings(&query).unwrap().map(Result::unwrap).collect();
        assert_eq!(got, expected, "{query:?}");
    }

    let query = ProofQuery { stream: "tank/level".into(), at: None };
    assert_eq!(client.prove(&query).await.unwrap(), answers.prove(&query).unwrap());
    assert_eq!(client.peers().await.unwrap().network, NetworkState::None);
    assert!(client.evidence().await.unwrap().forks.is_empty());
    let Err(ClientError::Ask(AskError::Refused { why })) = client.rotate().await else { panic!("a refusal") };
    assert!(why.contains("cannot be asked"), "{why}");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reason_crosses_the_socket_as_it_is() {
    let mut bench = Bench::new(1);
    filled(&mut bench);
    let served = Served::start(&bench).await;
    let query = ProofQuery { stream: "tank/levle".into(), at: None };
    let expected = bench.answers().prove(&query).unwrap_err();
    assert!(matches!(expected, AskError::NoSuchStream { .. }));
    let Err(ClientError::Ask(got)) = served.client().prove(&query).await else { panic!("a reason") };
    assert_eq!(got, expected);
    let query = ReadingsQuery {
        last: Some(usize::MAX),
        stream: Some("tank/level".into()),
        ..ReadingsQuery::default()
    };
    assert!(matches!(
        served.client().readings(&query).await,
        Err(ClientError::Ask(AskError::Malformed { .. }))
    ));
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_readings_come_in_pieces_and_in_order() {
    let mut bench = Bench::new(1);
    bench.describe(0, temperature("tank/level"));
    for _ in 0..10 {
        let readings = (0..400).map(|n| bench.reading(0, Value::Int(n))).collect();
        bench.submit(readings);
        bench.pass(SECOND / 10);
    }
    let served = Served::start(&bench).await;
    let query = ReadingsQuery { stream: Some("tank/level".into()), ..ReadingsQuery::default() };
    let mut lines = served.client().readings(&query).await.unwrap();
    let mut counter = 0;
    while let Some(reading) = lines.next().await.unwrap() {
        assert_eq!(reading.counter, counter);
        counter += 1;
    }
    assert_eq!(counter, 4_000);
    // Somebody who leaves half-way holds nothing up.
    drop(served.client().readings(&query).await.unwrap());
    assert!(served.client().status().await.is_ok());
    served.end().await;
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_requests_get_a_clear_refusal() {
    let mut bench = Bench::new(1);
    filled(&mut bench);
    let served = Served::start(&bench).await;
    let long_head =
        format!("GET /v0/status HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(2 * HEAD_BYTES_MAX));
    let body = b"GET /v0/status HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n".to_vec();
    let chunked = b"GET /v0/status HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let post = b"POST /v0/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec();
    let cases = [
        (b"\x16\x03\x01 this is no HTTP\r\n\r\n".to_vec(), "400", ""),
        (long_head.into_bytes(), "431", ""),
        (get(&format!("/{}", "a".repeat(2 * HEAD_BYTES_MAX))), "4", ""),
        (body, "413", "a question has no body"),
        (chunked, "413", "a question has no body"),
        (post, "405", "expected GET"),
        (get("/v0/rotate"), "405", "expected GET"),
        (b"POST /v0/rotate HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n".to_vec(), "413", "has no body"),
        (get("/v0/nothing"), "404", "expected /v0/status"),
        (get("/"), "404", "expected /v0/status"),
        (get("/v0/proof"), "400", "stream"),
        (get("/v0/proof?stream=tank%2Flevel&at=noon"), "400", "noon"),
        (get("/v0/readings?stream=tank%2Flevel&last=-1"), "400", "last"),
        (get("/v0/readings?sream=tank%2Flevel"), "400", "sream"),
        (get("/v0/readings?stream=%ff%fe"), "404", "no stream"),
        (get("/v0/tangle?last=99999999999999999999999"), "400", "last"),
        (get("/v0/tangle?last=1000000"), "400", "expected 1 to"),
        (get("/v0/readings?stream=nowhere"), "404", "no stream"),
    ];
    for (request, status, reason) in cases {
        let shown = String::from_utf8_lossy(&request[..request.len().min(80)]).into_owned();
        let answer = served.raw(request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{shown:?}: {answer}");
        assert!(answer.contains(reason), "{shown:?}: {answer}");
        assert!(answer.len() < 4_096, "{shown:?}: {} bytes", answer.len());
    }
    assert!(served.client().status().await.is_ok(), "it still answers");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_do_not_keep_others_out_for_long_nor_the_server_from_ending() {
    let mut bench = Bench::new(1);
    filled(&mut bench);
    let served = Served::start(&bench).await;
    let silent: Vec<UnixStream> =
        (0..CONNECTIONS_MAX - 1).map(|_| UnixStream::connect(&served.path).unwrap()).collect();
    assert!(served.client().status().await.is_ok());
    served.end().await;
    drop(silent);
}

#[tokio::test]
async fn a_socket_is_for_its_owner_and_replaces_only_what_nobody_answers_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.sock");
    let first = bind(&path).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(bind(&path).await, Err(SocketError::InUse { .. })));
    assert!(Client::new(&path).is_answered().unwrap());
    // As after kill -9: the file stays, nobody listens.
    drop(first);
    assert!(path.exists());
    assert!(!Client::new(&path).is_answered().unwrap());
    drop(bind(&path).await.unwrap());

    let file = folder.path().join("file");
    std::fs::write(&file, "keep").unwrap();
    assert!(matches!(bind(&file).await, Err(SocketError::NotASocket { .. })));
    assert_eq!(std::fs::read(&file).unwrap(), b"keep");
    assert!(!Client::new(folder.path().join("none")).is_answered().unwrap());
    assert!(matches!(
        Client::new(folder.path().join("none")).status().await,
        Err(ClientError::NotRunning { .. })
    ));
}

#[tokio::test]
async fn a_path_too_long_for_the_kernel_is_said_and_not_cut() {
    let long = Path::new("/tmp").join("a".repeat(socket::PATH_BYTES_MAX));
    let why = bind(&long).await.unwrap_err().to_string();
    assert!(why.contains("allows 107") && why.contains("shorter path"), "{why}");
    assert!(Client::new(&long).is_answered().unwrap_err().to_string().contains("allows 107"));
}

/// A data folder with a gateway that has some readings, and no node.
fn data_folder() -> tempfile::TempDir {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("g1");
    let (genesis, gateway) = genesis(1);
    let contents = Contents {
        genesis: &genesis.to_bytes(),
        gateway: &gateway,
        organisation: None,
        salt_key: &[9; 32],
        config: "",
        passphrase: None,
        enrolment: None,
        further: &[],
        restored: false,
    };
    let folder = Folder::create(&path, &contents).unwrap();
    let disk = RealDisk::open(folder.store_path()).unwrap();
    filled(&mut Bench::on(Arc::new(disk), &path, genesis, &gateway));
    data
}

#[test]
fn commands_get_the_same_from_the_node_and_from_the_store() {
    let data = data_folder();
    let path = data.path().join("g1");
    let query = ProofQuery { stream: "tank/level".into(), at: None };
    let everything = ReadingsQuery::default();

    let from_store = Ask::open(&path).unwrap();
    assert!(matches!(from_store, Ask::Store(_)));
    assert_eq!(from_store.status().unwrap().state, NodeState::NotRunning);
    let readings: Vec<_> = from_store.readings(&everything).unwrap().map(Result::unwrap).collect();
    let proof = from_store.prove(&query).unwrap();
    let wrong = from_store.prove(&ProofQuery { stream: "x".into(), at: None }).unwrap_err();
    assert!(wrong.is::<crate::cli::Failed>(), "exit code 1");
    drop(from_store);

    let (genesis, gateway) = genesis(1);
    let disk = Arc::new(RealDisk::open(path.join("store")).unwrap());
    let bench = Bench::on(disk, &path, genesis, &gateway);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let socket_path = Folder::open(&path).unwrap().socket_path();
    let listener = runtime.block_on(bind(&socket_path)).unwrap();
    let (_live_out, live) = watch::channel(Arc::new(bench.live()));
    let state = ApiState::new(bench.answers().reader, Facts::clone(&bench.facts), live);
    runtime.spawn(serve(listener, state, std::future::pending()));

    let from_node = Ask::open(&path).unwrap();
    assert!(matches!(from_node, Ask::Node(_)));
    assert_eq!(from_node.status().unwrap().state, NodeState::Running);
    let again: Vec<_> = from_node.readings(&everything).unwrap().map(Result::unwrap).collect();
    assert_eq!(again, readings);
    assert_eq!(from_node.prove(&query).unwrap(), proof);
    let wrong = from_node.prove(&ProofQuery { stream: "x".into(), at: None }).unwrap_err();
    assert!(wrong.is::<crate::cli::Failed>(), "exit code 1");
    assert_eq!(from_node.tangle(10).unwrap().newest.len(), 3);
    assert_eq!(from_node.streams().unwrap().streams.len(), 2);
}

#[test]
fn a_folder_held_by_a_process_that_does_not_answer_is_said() {
    let data = data_folder();
    let path = data.path().join("g1");
    let held = RealDisk::open(path.join("store")).unwrap();
    let why = Ask::open_within(&path, Duration::ZERO).unwrap_err().to_string();
    assert!(why.contains(&format!("pid {}", std::process::id())) && why.contains("nobody answers"), "{why}");
    // One that ends, or starts, meanwhile is waited for.
    let ending = std::thread::spawn(move || drop(held));
    assert!(Ask::open_within(&path, Duration::from_mins(1)).is_ok());
    ending.join().unwrap();
    let none = Ask::open(data.path()).unwrap_err().to_string();
    assert!(none.contains("selvedge init"), "{none}");
}
