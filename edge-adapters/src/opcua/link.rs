//! One TCP connection to a server with its secure channel (OPC 10000-6, 6 and 7): requests go out, answers come back.
//!
//! The library's codecs, chunks and keys are used, and nothing above them: its session reconnects by itself, and after
//! that never publishes again while it says that it is connected. Here a link that fails is closed and never used
//! again; [`super::session`] makes a new one.
//!
//! # The server's clock
//! The library renews the keys of a channel at three quarters of their life, counted from a time that the *server*
//! wrote. With a server whose clock is an hour ahead they would be renewed too late, with one that is an hour behind at
//! each request. So the time of each new token is set to ours as it comes in.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opcua::client::transport::{
    AsyncSecureChannel, Connector, RequestRecv, SecureChannelState, StreamConnection, StreamConnector,
    StreamTransport, TransportConfiguration, TransportPollResult,
};
use opcua::client::{IdentityToken, SessionRetryPolicy};
use opcua::core::comms::tcp_codec::TcpCodec;
use opcua::core::sync::RwLock;
use opcua::core::{RequestMessage, ResponseMessage};
use opcua::crypto::CertificateStore;
use opcua::types::{
    ChannelSecurityToken, ContextOwned, DateTime, DecodingOptions, EndpointDescription, Error, NamespaceMap,
    NodeId, RequestHeader, ServiceFault, StatusCode,
};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::codec::FramedRead;

use crate::adapter::{Fault, FaultKind};
use crate::health::Health;

/// Most elements of an array that are taken. The library takes 1,000, and closes the connection on a longer one.
const ARRAY_MAX: usize = 65_536;
/// Longest text and string of bytes that are taken: a certificate list, a big array of bytes.
const STRING_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longest message that is taken: 10,000 values with their times and texts.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most chunks of a message; a server may make them as small as 8 KiB.
const CHUNKS_MAX: usize = MESSAGE_BYTES_MAX / 8_192;
/// Longest chunk, as the library has it.
const CHUNK_BYTES_MAX: usize = 65_535;
/// Asked of the server for a channel's keys. Servers give an hour at most.
const TOKEN_LIFETIME_MS: u32 = 3_600_000;
/// Added to the time that a request may take before this side gives up by itself: the library looks at its deadlines
/// only while it is not writing.
const GRACE: Duration = Duration::from_secs(1);

/// What is asked, as any task may.
#[derive(Clone)]
pub(crate) struct Asker {
    channel: Arc<AsyncSecureChannel>,
    token: NodeId,
    timeout: Duration,
    health: Arc<Health>,
}

/// A connection with its channel. Dropping it closes both.
pub(crate) struct Link {
    asker: Asker,
    state: Arc<SecureChannelState>,
    driver: JoinHandle<()>,
    closed: watch::Receiver<Option<StatusCode>>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// How to reach a server.
#[derive(Debug, Clone)]
pub(crate) struct Dial {
    /// `opc.tcp://host:port/path`, as configured.
    pub(crate) url: String,
    /// `host:port`.
    pub(crate) host_and_port: String,
    /// For a connection, and for each answer.
    pub(crate) timeout: Duration,
}

impl Link {
    /// Connects and opens a channel by the endpoint's policy, mode and certificate. `store` holds the certificate of
    /// this side, and its key.
    pub(crate) async fn open(
        dial: &Dial,
        endpoint: EndpointDescription,
        identity: IdentityToken,
        store: Arc<RwLock<CertificateStore>>,
        health: &Arc<Health>,
    ) -> Result<Self, Fault> {
        let config = TransportConfiguration {
            send_buffer_size: CHUNK_BYTES_MAX,
            recv_buffer_size: CHUNK_BYTES_MAX,
            max_message_size: MESSAGE_BYTES_MAX,
            max_chunk_count: CHUNKS_MAX,
        };
        let context = ContextOwned::new_default(NamespaceMap::new(), decoding_options());
        let channel = AsyncSecureChannel::new(
            store,
            (endpoint, identity).into(),
            SessionRetryPolicy::never(),
            // It would move all times that the server sends, those of values too.
            false,
            Arc::default(),
            config,
            TOKEN_LIFETIME_MS,
            Arc::new(RwLock::new(context)),
        );
        let connector = Wire { dial: dial.clone(), seen: Mutex::default() };
        // Connecting asks twice: hello and open.
        let within = dial.timeout * 3;
        let opened = timeout(within, channel.connect_no_retry(&connector)).await;
        let why = connector.seen.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut events = match (opened, &why) {
            (Ok(Ok(events)), _) => events,
            (_, Some(Seen::Failed(fault))) => return Err(fault.clone()),
            (Ok(Err(error)), _) => return Err(fault_of(&error)),
            (Err(_), _) => {
                let detail = format!("{}: no channel within {within:?}", dial.host_and_port);
                return Err(Fault::new(FaultKind::Timeout, detail));
            }
        };
        let Some(Seen::State(state)) = why else {
            return Err(Fault::new(FaultKind::Closed, "the connection has gone"));
        };
        health.connected();
        own_time(&state);
        let (say, closed) = watch::channel(None);
        let seen = Arc::clone(&state);
        let driver = tokio::spawn(async move {
            let mut token = seen.secure_channel().read().token_id();
            loop {
                match events.poll().await {
                    TransportPollResult::Closed(status) => {
                        say.send_replace(Some(status));
                        return;
                    }
                    TransportPollResult::IncomingMessage => {
                        let now = seen.secure_channel().read().token_id();
                        if now != token {
                            token = now;
                            own_time(&seen);
                        }
                        // Whoever waits for this answer asks for the next one before more of them are decoded: else all
                        // that were asked for are taken in one go, and then the server has nothing to do.
                        tokio::task::yield_now().await;
                    }
                    _ => {}
                }
            }
        });
        let asker = Asker {
            channel: Arc::new(channel),
            token: NodeId::null(),
            timeout: dial.timeout,
            health: Arc::clone(health),
        };
        Ok(Self { asker, state, driver, closed })
    }

    /// For asking.
    pub(crate) fn asker(&self) -> Asker {
        self.asker.clone()
    }

    /// Requests belong to the session of this token from now on.
    pub(crate) fn set_token(&mut self, token: NodeId) {
        self.asker.channel.set_auth_token(token.clone());
        self.asker.token = token;
    }

    /// What the next proof of identity must sign.
    pub(crate) fn set_server_nonce(&self, nonce: &opcua::types::ByteString) -> Result<(), Fault> {
        self.state
            .secure_channel()
            .write()
            .set_remote_nonce_from_byte_string(nonce)
            .map_err(|error| fault_of(&error))
    }

    /// Returns when the connection is over.
    pub(crate) async fn closed(&self) -> Fault {
        let mut closed = self.closed.clone();
        let status = match closed.wait_for(Option::is_some).await {
            Ok(status) => status.unwrap_or(StatusCode::BadConnectionClosed),
            Err(_) => StatusCode::BadConnectionClosed,
        };
        Fault::new(FaultKind::Closed, format!("the connection is over: {}", words(status)))
    }

    /// Tells the server that the channel is not needed any more, as far as that goes at once.
    pub(crate) async fn close(self) {
        // The answer is that the server closes; whoever does not is left.
        let _ = timeout(GRACE, self.asker.channel.close_channel()).await;
        let mut closed = self.closed.clone();
        let _ = timeout(GRACE, closed.wait_for(Option::is_some)).await;
    }
}

impl Asker {
    /// The library's channel.
    pub(crate) fn channel(&self) -> &AsyncSecureChannel {
        &self.channel
    }

    /// The head of a request.
    pub(crate) fn header(&self) -> RequestHeader {
        self.header_for(self.timeout)
    }

    /// The head of a request that may take as long.
    pub(crate) fn header_for(&self, within: Duration) -> RequestHeader {
        RequestHeader {
            authentication_token: self.token.clone(),
            timestamp: DateTime::now(),
            request_handle: self.channel.request_handle(),
            timeout_hint: u32::try_from(within.as_millis()).unwrap_or(u32::MAX),
            ..RequestHeader::default()
        }
    }

    /// How long an answer may take.
    pub(crate) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Asks, and returns the answer if the service was rendered.
    pub(crate) async fn ask(&self, request: impl Into<RequestMessage>) -> Result<ResponseMessage, Fault> {
        self.ask_within(request, self.timeout).await
    }

    /// Asks for what may take as long.
    pub(crate) async fn ask_within(
        &self,
        request: impl Into<RequestMessage>,
        within: Duration,
    ) -> Result<ResponseMessage, Fault> {
        self.health.requested();
        let sent = Instant::now();
        let response = match timeout(within + GRACE, self.channel.send(request, within)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(unanswered(fault_of(&error))),
            Err(_) => return Err(Fault::new(FaultKind::Timeout, format!("no answer within {within:?}"))),
        };
        // A publish is answered when there is something to say, which tells nothing of the line.
        if !matches!(response, ResponseMessage::Publish(_)) {
            self.health.answered(sent.elapsed());
        }
        let result = response.response_header().service_result;
        if let ResponseMessage::ServiceFault(fault) = &response {
            let ServiceFault { response_header } = &**fault;
            return Err(refused(response_header.service_result));
        }
        if result.is_bad() { Err(refused(result)) } else { Ok(response) }
    }
}

/// What happened while connecting.
enum Seen {
    State(Arc<SecureChannelState>),
    Failed(Fault),
}

/// Makes the TCP connection: every address of the name is tried, and small requests do not wait for one another.
struct Wire {
    dial: Dial,
    seen: Mutex<Option<Seen>>,
}

impl Wire {
    fn saw(&self, seen: Seen) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
    }
}

impl Connector for Wire {
    type Transport = StreamTransport<OwnedReadHalf, OwnedWriteHalf>;

    async fn connect(
        &self,
        channel: Arc<SecureChannelState>,
        outgoing: RequestRecv,
        config: TransportConfiguration,
    ) -> Result<Self::Transport, Error> {
        self.saw(Seen::State(Arc::clone(&channel)));
        let dial = |url: String, options: DecodingOptions| async move {
            match reach(&self.dial).await {
                Ok(stream) => {
                    let (read, write) = stream.into_split();
                    Ok(StreamConnection::new(FramedRead::new(read, TcpCodec::new(options)), write, url))
                }
                Err(fault) => {
                    let error = Error::new(StatusCode::BadNotConnected, fault.detail.clone());
                    self.saw(Seen::Failed(fault));
                    Err(error)
                }
            }
        };
        StreamConnector::new(dial, self.dial.url.clone()).connect(channel, outgoing, config).await
    }

    fn default_endpoint(&self) -> EndpointDescription {
        EndpointDescription::from(self.dial.url.as_str())
    }
}

async fn reach(dial: &Dial) -> Result<TcpStream, Fault> {
    let Dial { host_and_port, timeout: within, .. } = dial;
    let fault = |why: String| Fault::new(FaultKind::Unreachable, format!("{host_and_port}: {why}"));
    let addresses: Vec<_> = match timeout(*within, tokio::net::lookup_host(host_and_port.as_str())).await {
        Ok(found) => found.map_err(|error| fault(error.to_string()))?.collect(),
        Err(_) => return Err(fault(format!("the name was not resolved within {within:?}"))),
    };
    let mut last = fault("the name has no address".to_owned());
    for address in addresses {
        match timeout(*within, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true).map_err(|error| fault(error.to_string()))?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = fault(error.to_string()),
            Err(_) => last = fault(format!("no connection within {within:?}")),
        }
    }
    Err(last)
}

fn decoding_options() -> DecodingOptions {
    DecodingOptions {
        max_message_size: MESSAGE_BYTES_MAX,
        max_chunk_count: CHUNKS_MAX,
        max_string_length: STRING_BYTES_MAX,
        max_byte_string_length: STRING_BYTES_MAX,
        max_array_length: ARRAY_MAX,
        ..DecodingOptions::default()
    }
}

/// The age of the channel's keys is counted from now, by our clock.
fn own_time(state: &SecureChannelState) {
    let mut channel = state.secure_channel().write();
    let token = ChannelSecurityToken {
        channel_id: channel.secure_channel_id(),
        token_id: channel.token_id(),
        created_at: DateTime::now(),
        revised_lifetime: channel.token_lifetime(),
    };
    channel.set_security_token(token);
}

/// A status code in words.
pub(crate) fn words(status: StatusCode) -> String {
    crate::status_code::words(status.bits())
}

/// The server refused.
pub(crate) fn refused(status: StatusCode) -> Fault {
    Fault::new(FaultKind::Refused(status.bits()), words(status))
}

/// What ended a request without an answer is no word of the server about it, whatever code the library gives it: the
/// request may have arrived.
fn unanswered(fault: Fault) -> Fault {
    match fault.kind {
        FaultKind::Refused(_) => Fault::new(FaultKind::Protocol, fault.detail),
        _ => fault,
    }
}

/// What the library says went wrong.
pub(crate) fn fault_of(error: &Error) -> Fault {
    let status = error.status();
    let kind = match status {
        StatusCode::BadTimeout | StatusCode::BadRequestTimeout => FaultKind::Timeout,
        StatusCode::BadConnectionClosed
        | StatusCode::BadCommunicationError
        | StatusCode::BadNotConnected
        | StatusCode::BadSecureChannelClosed
        | StatusCode::BadServerNotConnected
        | StatusCode::BadShutdown => FaultKind::Closed,
        StatusCode::BadDecodingError
        | StatusCode::BadEncodingLimitsExceeded
        | StatusCode::BadUnknownResponse
        | StatusCode::BadUnexpectedError => FaultKind::Protocol,
        _ => FaultKind::Refused(status.bits()),
    };
    // Its own text begins with the name of the code.
    Fault::new(kind, error.to_string())
}
