//! A session (OPC 10000-4, 5.7): found, verified, created or taken up again, and what can be asked in it.
//!
//! After a connection that broke the session is still there, for as long as the server agreed to keep it: it is taken
//! up again over a new channel, and its subscriptions have lost nothing. After a restart of the server it is gone, and a
//! new one is made.

use std::sync::Arc;
use std::time::Duration;

use opcua::client::IdentityToken;
use opcua::client::UARequest as _;
use opcua::client::services::ActivateSession;
use opcua::core::ResponseMessage;
use opcua::core::sync::RwLock;
use opcua::crypto::{CertificateStore, random, verify_signature_data};
use opcua::types::{
    ApplicationDescription, ApplicationType, AttributeId, ByteString, CloseSessionRequest,
    CreateSessionRequest, CreateSessionResponse, DataValue, EndpointDescription, GetEndpointsRequest, NodeId,
    ReadRequest, ReadValueId, StatusCode, TimestampsToReturn, UAString, VariableId, Variant,
};

use super::link::{Asker, Dial, Link, fault_of, words};
use super::pki::{Own, Pki};
use super::security::{Security, User, wrong};
use crate::adapter::{Fault, FaultKind};
use crate::health::Health;

/// Bytes of our part of the proof (OPC 10000-4, 5.7.2: at least 32).
const NONCE_BYTES: usize = 32;
/// Nodes in a request where the server names no limit of its own.
const CHUNK: usize = 1_000;
/// Namespaces of a server that are looked at.
const NAMESPACES_MAX: usize = 4_096;

/// Who is connected to, and as whom.
#[derive(Debug, Clone)]
pub(crate) struct Connect {
    pub(crate) dial: Dial,
    /// Host alone, as configured.
    pub(crate) host: String,
    pub(crate) security: Security,
    pub(crate) user: User,
    pub(crate) pki: Pki,
    /// Shown in the server's lists.
    pub(crate) name: String,
    /// How long the server is asked to keep a session that nobody uses.
    pub(crate) session_timeout: Duration,
}

/// A session that may still be there.
#[derive(Clone)]
pub(crate) struct Kept {
    token: NodeId,
    nonce: ByteString,
    server_certificate: ByteString,
}

/// Most nodes in one request of each kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) read: usize,
    pub(crate) items: usize,
}

/// An open session.
#[derive(Debug)]
pub(crate) struct Session {
    link: Link,
    kept: Option<Kept>,
    /// Was it there before this connection?
    pub(crate) is_resumed: bool,
    /// The names of its namespaces, by their number at this moment.
    pub(crate) namespaces: Vec<String>,
    pub(crate) limits: Limits,
}

impl std::fmt::Debug for Kept {
    /// The token is as good as a password while the session lives.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

impl Connect {
    /// Connects and takes up `before`, if the server still has it, or makes a new session.
    pub(crate) async fn open(&self, before: Option<Kept>, health: &Arc<Health>) -> Result<Session, Fault> {
        let offered = self.endpoints(health).await?;
        let mut endpoint = self.choose(&offered)?;
        let policies = endpoint.user_identity_tokens.clone();
        let own = self.own().await?;
        if self.security.is_secured() {
            let (pki, host) = (&self.pki, &self.host);
            let uri = endpoint.server.application_uri.as_ref();
            pki.check(&endpoint.server_certificate, host, uri, self.security.library_policy())?;
        }
        let identity = self.user.identity(self.security, &mut endpoint)?;
        let mut link =
            Link::open(&self.dial, endpoint.clone(), identity.clone(), self.store(), health).await?;
        let resumed = match before {
            Some(kept)
                if kept.server_certificate == endpoint.server_certificate && !planted!(LeavesItsSession) =>
            {
                self.take_up(&mut link, kept, &endpoint, &identity, own.as_ref()).await?
            }
            _ => None,
        };
        let is_resumed = resumed.is_some();
        let kept = if let Some(kept) = resumed {
            kept
        } else {
            let answer = self.create(&mut link, &endpoint, own.as_ref()).await?;
            // The list of endpoints came over a connection that nobody protects.
            if self.security.is_secured() {
                self.compare(&answer, policies.as_deref().unwrap_or_default())?;
            }
            let nonce = self.activate(&link, &endpoint, identity, own.as_ref()).await?;
            let token = answer.authentication_token;
            Kept { token, nonce, server_certificate: endpoint.server_certificate.clone() }
        };
        let mut session =
            Session { link, kept: Some(kept), is_resumed, namespaces: Vec::new(), limits: Limits::usual() };
        session.look_around().await?;
        Ok(session)
    }

    fn store(&self) -> Arc<RwLock<CertificateStore>> {
        self.pki.store()
    }

    /// Certificate and key of this side, if they are needed.
    async fn own(&self) -> Result<Option<Own>, Fault> {
        if !self.security.is_secured() {
            return Ok(None);
        }
        let pki = self.pki.clone();
        // Making a key takes a second, on a small machine several.
        let own = tokio::task::spawn_blocking(move || pki.own()).await;
        own.map_err(|error| Fault::new(FaultKind::Adapter, error.to_string()))?.map(Some)
    }

    /// What the server offers, by its own words.
    async fn endpoints(&self, health: &Arc<Health>) -> Result<Vec<EndpointDescription>, Fault> {
        let none = EndpointDescription {
            security_policy_uri: UAString::from(Security::NONE.library_policy().to_uri()),
            security_mode: Security::NONE.library_mode(),
            ..EndpointDescription::from(self.dial.url.as_str())
        };
        let link = Link::open(&self.dial, none, IdentityToken::Anonymous, self.store(), health).await?;
        let asker = link.asker();
        let request = GetEndpointsRequest {
            request_header: asker.header(),
            endpoint_url: UAString::from(self.dial.url.as_str()),
            locale_ids: None,
            profile_uris: None,
        };
        let answer = asker.ask(request).await;
        link.close().await;
        match answer? {
            ResponseMessage::GetEndpoints(answer) => Ok(answer.endpoints.unwrap_or_default()),
            other => Err(unexpected(&other)),
        }
    }

    /// The endpoint with exactly the protection that is configured; dialled as configured, whatever host it names.
    fn choose(&self, offered: &[EndpointDescription]) -> Result<EndpointDescription, Fault> {
        let fits = |endpoint: &&EndpointDescription| {
            self.security.is_of(endpoint)
                && (endpoint.endpoint_url.is_empty()
                    || endpoint.endpoint_url.as_ref().starts_with("opc.tcp:"))
        };
        let takes = |endpoint: &&EndpointDescription| {
            let policies = endpoint.user_identity_tokens.as_deref().unwrap_or_default();
            policies.iter().any(|policy| policy.token_type == self.user.token_type())
        };
        let found = offered.iter().filter(fits).find(takes).or_else(|| offered.iter().find(fits));
        let Some(found) = found else {
            let mut names: Vec<String> = offered.iter().map(security_name).collect();
            names.sort_unstable();
            names.dedup();
            return Err(wrong(format!("the server offers {}, and not {}", names.join(", "), self.security)));
        };
        Ok(EndpointDescription { endpoint_url: UAString::from(self.dial.url.as_str()), ..found.clone() })
    }

    /// Did the list that nobody protected say the same as the server says now?
    fn compare(
        &self,
        answer: &CreateSessionResponse,
        policies: &[opcua::types::UserTokenPolicy],
    ) -> Result<(), Fault> {
        let listed = answer.server_endpoints.as_deref().unwrap_or_default();
        let is_same = |endpoint: &&EndpointDescription| {
            let theirs = endpoint.user_identity_tokens.as_deref().unwrap_or_default();
            self.security.is_of(endpoint) && theirs == policies
        };
        // Some servers send no list here; then there is nothing to compare.
        if listed.is_empty() || listed.iter().any(|endpoint| is_same(&endpoint)) {
            return Ok(());
        }
        Err(wrong(
            "the server's list of endpoints changed between its two readings: somebody may stand between"
                .to_owned(),
        ))
    }

    async fn create(
        &self,
        link: &mut Link,
        endpoint: &EndpointDescription,
        own: Option<&Own>,
    ) -> Result<CreateSessionResponse, Fault> {
        let asker = link.asker();
        let nonce = random::byte_string(NONCE_BYTES);
        let application_uri =
            own.map_or(self.pki.application_uri.as_str(), |own| own.application_uri.as_str());
        let request = CreateSessionRequest {
            request_header: asker.header(),
            client_description: ApplicationDescription {
                application_uri: UAString::from(application_uri),
                product_uri: UAString::from("urn:selvedge"),
                application_name: "Selvedge gateway".into(),
                application_type: ApplicationType::Client,
                ..ApplicationDescription::default()
            },
            server_uri: UAString::null(),
            endpoint_url: UAString::from(self.dial.url.as_str()),
            session_name: UAString::from(self.name.as_str()),
            client_nonce: nonce.clone(),
            client_certificate: own.map_or_else(ByteString::null, |own| own.der.clone()),
            requested_session_timeout: self.session_timeout.as_secs_f64() * 1_000.0,
            max_response_message_size: 0,
        };
        let answer = match asker.ask(request).await? {
            ResponseMessage::CreateSession(answer) => *answer,
            other => return Err(unexpected(&other)),
        };
        if let Some(own) = own {
            if answer.server_certificate != endpoint.server_certificate {
                return Err(wrong("the server's certificate changed while connecting".to_owned()));
            }
            let certificate = opcua::crypto::X509::from_byte_string(&answer.server_certificate)
                .map_err(|error| fault_of(&error))?;
            let policy = self.security.library_policy();
            verify_signature_data(
                &answer.server_signature,
                policy,
                &certificate,
                &own.certificate,
                nonce.as_ref(),
            )
            .map_err(|error| wrong(format!("the server could not prove that it holds its key: {error}")))?;
        }
        link.set_server_nonce(&answer.server_nonce)?;
        link.set_token(answer.authentication_token.clone());
        Ok(answer)
    }

    /// Returns what the next activation must sign.
    async fn activate(
        &self,
        link: &Link,
        endpoint: &EndpointDescription,
        identity: IdentityToken,
        own: Option<&Own>,
    ) -> Result<ByteString, Fault> {
        let asker = link.asker();
        let header = asker.header();
        let mut request = ActivateSession::new_manual(
            endpoint.clone(),
            0,
            asker.timeout(),
            header.authentication_token,
            header.request_handle,
        )
        .identity_token(identity);
        if let Some(own) = own {
            request = request.private_key(own.key.clone());
        }
        let answer = tokio::time::timeout(asker.timeout() * 2, request.send(asker.channel())).await;
        let answer = answer
            .map_err(|_| Fault::new(FaultKind::Timeout, "no answer to the activation of the session"))?
            .map_err(|error| self.activation_fault(&error))?;
        Ok(answer.server_nonce)
    }

    fn activation_fault(&self, error: &opcua::types::Error) -> Fault {
        let status = error.status();
        let fault = fault_of(error);
        let who = match &self.user {
            User::Password { name, .. } => format!("user {name:?} and the password"),
            User::Anonymous => "an anonymous user".to_owned(),
            User::Certificate { .. } => "the user's certificate (user_certificate, user_key)".to_owned(),
        };
        match status {
            StatusCode::BadUserAccessDenied
            | StatusCode::BadIdentityTokenRejected
            | StatusCode::BadIdentityTokenInvalid
            | StatusCode::BadUserSignatureInvalid => {
                Fault::new(fault.kind, format!("the server does not accept {who}: {}", words(status)))
            }
            _ => fault,
        }
    }

    /// `None` when the server does not have the session any more.
    async fn take_up(
        &self,
        link: &mut Link,
        kept: Kept,
        endpoint: &EndpointDescription,
        identity: &IdentityToken,
        own: Option<&Own>,
    ) -> Result<Option<Kept>, Fault> {
        // Without protection the last nonce may be empty, and nothing is signed with it.
        if self.security.is_secured() || !kept.nonce.is_null_or_empty() {
            link.set_server_nonce(&kept.nonce)?;
        }
        link.set_token(kept.token.clone());
        match self.activate(link, endpoint, identity.clone(), own).await {
            Ok(nonce) => Ok(Some(Kept { nonce, ..kept })),
            Err(Fault { kind: FaultKind::Refused(_), .. }) => {
                link.set_token(NodeId::null());
                Ok(None)
            }
            Err(fault) => Err(fault),
        }
    }
}

fn security_name(endpoint: &EndpointDescription) -> String {
    let uri = endpoint.security_policy_uri.as_ref();
    let policy = uri.rsplit_once('#').map_or(uri, |(_, name)| name);
    let policy: String = policy.chars().take(64).collect();
    if policy == "None" { policy } else { format!("{policy}/{:?}", endpoint.security_mode) }
}

/// An answer of another kind.
pub(crate) fn unexpected(answer: &ResponseMessage) -> Fault {
    Fault::new(FaultKind::Protocol, format!("an answer of another kind: {}", answer.type_name()))
}

impl Limits {
    const fn usual() -> Self {
        Self { read: CHUNK, items: CHUNK }
    }
}

impl Session {
    /// For asking.
    pub(crate) fn asker(&self) -> Asker {
        self.link.asker()
    }

    /// Returns when the connection is over.
    pub(crate) async fn closed(&self) -> Fault {
        self.link.closed().await
    }

    /// To take it up again over a new connection.
    pub(crate) fn keep(&mut self) -> Option<Kept> {
        self.kept.take()
    }

    /// Namespaces and limits, which may be others after each restart.
    async fn look_around(&mut self) -> Result<(), Fault> {
        let nodes = [
            VariableId::Server_NamespaceArray,
            VariableId::Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
            VariableId::Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall,
        ];
        let nodes: Vec<NodeId> = nodes.into_iter().map(NodeId::from).collect();
        let found = self.read(&nodes).await?;
        let limit = |at: usize| match found.get(at).and_then(|data| data.value.as_ref()) {
            Some(Variant::UInt32(limit)) if *limit > 0 => (*limit as usize).min(CHUNK),
            _ => CHUNK,
        };
        self.limits = Limits { read: limit(1), items: limit(2) };
        self.namespaces = match found.first().and_then(|data| data.value.as_ref()) {
            Some(Variant::Array(array)) => array.values.iter().take(NAMESPACES_MAX).map(text).collect(),
            _ => return Err(Fault::new(FaultKind::Protocol, "the server has no NamespaceArray")),
        };
        Ok(())
    }

    /// The values of the nodes, as many and in their order.
    pub(crate) async fn read(&self, nodes: &[NodeId]) -> Result<Vec<DataValue>, Fault> {
        self.read_attribute(nodes, AttributeId::Value).await
    }

    /// An attribute of the nodes, as many and in their order.
    pub(crate) async fn read_attribute(
        &self,
        nodes: &[NodeId],
        attribute: AttributeId,
    ) -> Result<Vec<DataValue>, Fault> {
        let asker = self.asker();
        let mut found = Vec::with_capacity(nodes.len());
        for part in nodes.chunks(self.limits.read.max(1)) {
            let ids = part.iter().map(|node| ReadValueId::new(node.clone(), attribute)).collect();
            let request = ReadRequest {
                request_header: asker.header(),
                max_age: 0.0,
                timestamps_to_return: TimestampsToReturn::Both,
                nodes_to_read: Some(ids),
            };
            let results = match asker.ask(request).await? {
                ResponseMessage::Read(answer) => answer.results.unwrap_or_default(),
                other => return Err(unexpected(&other)),
            };
            as_many(results.len(), part.len(), "values")?;
            found.extend(results);
        }
        Ok(found)
    }

    /// Ends the session, as far as that goes at once.
    pub(crate) async fn close(self) {
        let asker = self.asker();
        let request = CloseSessionRequest { request_header: asker.header(), delete_subscriptions: true };
        // It goes by itself if the server does not hear this.
        let _ = asker.ask(request).await;
        self.link.close().await;
    }
}

/// Did the server answer for each of what it was asked?
pub(crate) fn as_many(got: usize, wanted: usize, what: &str) -> Result<(), Fault> {
    if got == wanted {
        return Ok(());
    }
    Err(Fault::new(FaultKind::Protocol, format!("got {got} {what}, asked for {wanted}")))
}

fn text(variant: &Variant) -> String {
    match variant {
        Variant::String(text) => text.as_ref().to_owned(),
        _ => String::new(),
    }
}
