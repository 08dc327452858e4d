//! Writing to a node, and calling a method in its place. What is written was allowed and armed (see [`crate::write`]).
//!
//! A node is written in its own type, which the server is asked for first, and read back. A method is called with the
//! value as its one argument, or with none if it takes none; whether the node then holds the value is what counts.

use opcua::core::ResponseMessage;
use opcua::types::{
    Argument, Array, AttributeId, BrowsePath, CallMethodRequest, CallRequest, DataValue, NodeId,
    NumericRange, QualifiedName, ReferenceTypeId, RelativePath, RelativePathElement, StatusCode,
    TranslateBrowsePathsToNodeIdsRequest, Variant, VariantScalarTypeId, WriteRequest as WriteNodes,
    WriteValue,
};
use selvedge_core::reading::{Quality, Value};

use super::OpcUa;
use super::link::words;
use super::node_id::NodeName;
use super::run::End;
use super::session::{Session, as_many, unexpected};
use super::value::{Picker, decode};
use super::variant::variant;
use crate::adapter::{Fault, FaultKind};
use crate::status_code;
use crate::write::{WriteRequest, Written};

/// A method that writes in the node's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) object: NodeName,
    pub(crate) method: NodeName,
}

/// What stopped a write.
enum Stop {
    /// Nothing was sent, or the server refused.
    Refused(u32, String),
    /// The connection failed before anything was sent.
    Before(Fault),
    /// It was sent, and then the connection failed.
    After(Fault),
}

impl Stop {
    fn refused(status: StatusCode) -> Self {
        Self::Refused(status.bits(), words(status))
    }

    /// Before anything was sent: a refusal is one of what was asked to prepare it.
    fn before(fault: Fault) -> Self {
        match fault.kind {
            FaultKind::Refused(status) => Self::Refused(status, fault.detail),
            _ => Self::Before(fault),
        }
    }

    /// A refusal of the whole request: the device was not touched.
    fn sent(fault: Fault) -> Self {
        match fault.kind {
            FaultKind::Refused(status) => Self::Refused(status, fault.detail),
            _ => Self::After(fault),
        }
    }
}

/// Does it, and answers.
pub(crate) async fn write(source: &OpcUa, session: &Session, request: WriteRequest) -> Result<(), End> {
    let index = request.stream;
    let done = attempt(source, session, &request).await;
    match done {
        Ok(()) => {}
        Err(Stop::Refused(status, why)) => {
            request.done(Written::Refused { status, why });
            return Ok(());
        }
        Err(Stop::Before(fault)) => {
            let why = fault.to_string();
            request.done(Written::Refused { status: fault.status(), why });
            return Err(fault.into());
        }
        Err(Stop::After(fault)) => {
            let why = fault.to_string();
            request.done(Written::NotConfirmed { read_back: None, why });
            return Err(fault.into());
        }
    }
    let (written, end) = match read_back(source, session, index).await {
        Ok(found) if found.quality == Quality::Good && is_same(&found.value, &request.value) => {
            (Written::Confirmed { read_back: found.value }, Ok(()))
        }
        Ok(found) => {
            let status = status_code::words(found.status);
            let why = match found.value {
                Value::None => format!("the server took it, and the node cannot be read: {status}"),
                _ => "the server took it, and the node holds another value".to_owned(),
            };
            let read_back = (found.value != Value::None).then_some(found.value);
            (Written::NotConfirmed { read_back, why }, Ok(()))
        }
        Err(fault) => {
            let why = format!("the server took it, and was not read again: {fault}");
            (Written::NotConfirmed { read_back: None, why }, Err(fault.into()))
        }
    };
    request.done(written);
    end
}

async fn attempt(source: &OpcUa, session: &Session, request: &WriteRequest) -> Result<(), Stop> {
    let disarmed = || Stop::Refused(status_code::NOT_ARMED, "the gateway was disarmed meanwhile".to_owned());
    if let Some(call) = source.calls.get(request.stream).and_then(Option::as_ref) {
        let prepared = prepare_call(session, call, &request.value).await?;
        if !request.is_armed() {
            return Err(disarmed());
        }
        return send_call(session, prepared).await;
    }
    let prepared = prepare_write(source, session, request).await?;
    if !request.is_armed() {
        return Err(disarmed());
    }
    send_write(session, prepared).await
}

async fn prepare_write(
    source: &OpcUa,
    session: &Session,
    request: &WriteRequest,
) -> Result<WriteValue, Stop> {
    let item = &source.items[request.stream];
    let node = resolved(session, &item.node)?;
    let kind = kind_of(session, &node).await?;
    let scalar = variant(&request.value, kind)
        .map_err(|why| Stop::Refused(StatusCode::BadTypeMismatch.bits(), why))?;
    let (value, index_range) = match item.picker.index {
        None => (scalar, NumericRange::None),
        Some(index) => {
            let array = Array::new(kind, vec![scalar])
                .map_err(|error| Stop::Refused(StatusCode::BadTypeMismatch.bits(), error.to_string()))?;
            (Variant::from(array), NumericRange::Index(index))
        }
    };
    Ok(WriteValue {
        node_id: node,
        attribute_id: AttributeId::Value as u32,
        index_range,
        // Without status and times: most servers refuse a client's own.
        value: DataValue { value: Some(value), ..DataValue::null() },
    })
}

async fn send_write(session: &Session, value: WriteValue) -> Result<(), Stop> {
    let asker = session.asker();
    let request = WriteNodes { request_header: asker.header(), nodes_to_write: Some(vec![value]) };
    match asker.ask(request).await.map_err(Stop::sent)? {
        ResponseMessage::Write(answer) => one_good(answer.results.unwrap_or_default().first().copied()),
        other => Err(Stop::After(unexpected(&other))),
    }
}

fn one_good(status: Option<StatusCode>) -> Result<(), Stop> {
    match status {
        // A server that passes it on to a device of its own does not know either.
        Some(
            status @ (StatusCode::BadTimeout
            | StatusCode::BadNoCommunication
            | StatusCode::BadCommunicationError),
        ) => Err(Stop::After(Fault::new(FaultKind::Timeout, words(status)))),
        Some(status) if status.is_bad() => Err(Stop::refused(status)),
        Some(_) => Ok(()),
        None => Err(Stop::After(Fault::new(FaultKind::Protocol, "an answer without a result"))),
    }
}

fn resolved(session: &Session, name: &NodeName) -> Result<NodeId, Stop> {
    let none =
        |error: super::node_id::NodeNameError| Stop::Refused(status_code::NO_NAMESPACE, error.to_string());
    name.resolve(&session.namespaces).map_err(none)
}

/// The type of the node's values: as it holds one now, or else as it says.
async fn kind_of(session: &Session, node: &NodeId) -> Result<VariantScalarTypeId, Stop> {
    let found = session.read(std::slice::from_ref(node)).await.map_err(Stop::before)?;
    match found.first().and_then(|data| data.value.as_ref()) {
        Some(Variant::Array(array)) => return Ok(array.value_type),
        Some(Variant::Empty) | None => {}
        Some(value) => {
            if let Some(kind) = value.scalar_type_id() {
                return Ok(kind);
            }
        }
    }
    let nodes = std::slice::from_ref(node);
    let found = session.read_attribute(nodes, AttributeId::DataType).await.map_err(Stop::before)?;
    match found.first() {
        Some(DataValue { value: Some(Variant::NodeId(id)), .. }) => built_in(id).ok_or_else(|| {
            Stop::Refused(
                StatusCode::BadTypeMismatch.bits(),
                format!("the node's type {id} is not a plain one"),
            )
        }),
        Some(data) => Err(Stop::refused(data.status())),
        None => Err(Stop::Before(Fault::new(FaultKind::Protocol, "an answer without a result"))),
    }
}

/// The built-in types have their numbers in namespace 0 (OPC 10000-6, 5.1.2).
fn built_in(id: &NodeId) -> Option<VariantScalarTypeId> {
    let number = id.as_u32().filter(|_| id.namespace == 0)?;
    VariantScalarTypeId::try_from(number).ok()
}

async fn prepare_call(session: &Session, call: &Call, value: &Value) -> Result<CallMethodRequest, Stop> {
    let (object, method) = (resolved(session, &call.object)?, resolved(session, &call.method)?);
    let arguments = arguments_of(session, &method).await?;
    let inputs = match arguments.as_slice() {
        [] => Vec::new(),
        [one] => {
            let kind = built_in(&one.data_type).ok_or_else(|| {
                let why = format!("the method's argument {} has a type that is not a plain one", one.name);
                Stop::Refused(StatusCode::BadTypeMismatch.bits(), why)
            })?;
            let one =
                variant(value, kind).map_err(|why| Stop::Refused(StatusCode::BadTypeMismatch.bits(), why))?;
            vec![one]
        }
        more => {
            let why = format!("the method takes {} arguments, and there is one value", more.len());
            return Err(Stop::Refused(StatusCode::BadArgumentsMissing.bits(), why));
        }
    };
    let input_arguments = Some(inputs).filter(|inputs| !inputs.is_empty());
    Ok(CallMethodRequest { object_id: object, method_id: method, input_arguments })
}

/// What the method takes, by its property `InputArguments`; nothing, if it has none.
async fn arguments_of(session: &Session, method: &NodeId) -> Result<Vec<Argument>, Stop> {
    let asker = session.asker();
    let element = RelativePathElement {
        reference_type_id: ReferenceTypeId::HasProperty.into(),
        is_inverse: false,
        include_subtypes: true,
        target_name: QualifiedName::new(0, "InputArguments"),
    };
    let request = TranslateBrowsePathsToNodeIdsRequest {
        request_header: asker.header(),
        browse_paths: Some(vec![BrowsePath {
            starting_node: method.clone(),
            relative_path: RelativePath { elements: Some(vec![element]) },
        }]),
    };
    let results = match asker.ask(request).await.map_err(Stop::before)? {
        ResponseMessage::TranslateBrowsePathsToNodeIds(answer) => answer.results.unwrap_or_default(),
        other => return Err(Stop::Before(unexpected(&other))),
    };
    as_many(results.len(), 1, "paths").map_err(Stop::before)?;
    let result = &results[0];
    if result.status_code == StatusCode::BadNoMatch {
        return Ok(Vec::new());
    }
    if result.status_code.is_bad() {
        return Err(Stop::refused(result.status_code));
    }
    let target = result.targets.as_ref().and_then(|targets| targets.first());
    let Some(target) = target else { return Ok(Vec::new()) };
    let node = target.target_id.node_id.clone();
    let found = session.read(&[node]).await.map_err(Stop::before)?;
    match found.into_iter().next().and_then(|data| data.value) {
        Some(Variant::Array(array)) => array
            .values
            .into_iter()
            .map(|value| match value {
                Variant::ExtensionObject(object) => object.into_inner_as::<Argument>().map(|boxed| *boxed),
                _ => None,
            })
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| Stop::Before(Fault::new(FaultKind::Protocol, "InputArguments that are none"))),
        _ => Ok(Vec::new()),
    }
}

async fn send_call(session: &Session, call: CallMethodRequest) -> Result<(), Stop> {
    let asker = session.asker();
    let request = CallRequest { request_header: asker.header(), methods_to_call: Some(vec![call]) };
    match asker.ask(request).await.map_err(Stop::sent)? {
        ResponseMessage::Call(answer) => {
            let result = answer.results.unwrap_or_default().into_iter().next();
            one_good(result.map(|result| result.status_code))
        }
        other => Err(Stop::After(unexpected(&other))),
    }
}

/// What the node holds now.
async fn read_back(
    source: &OpcUa,
    session: &Session,
    index: usize,
) -> Result<crate::mapping::Decoded, Fault> {
    let item = &source.items[index];
    let node = item.node.resolve(&session.namespaces).unwrap_or_default();
    let found = session.read(&[node]).await?;
    as_many(found.len(), 1, "values")?;
    // Marks for "not available" are values that may be written.
    Ok(decode(&found[0], &Picker { index: item.picker.index, not_available: Vec::new() }))
}

/// The same value in whatever type it is held; a 32-bit float holds the nearest one.
fn is_same(held: &Value, sent: &Value) -> bool {
    if held == sent {
        return true;
    }
    match (held.as_f64(), sent.as_f64()) {
        (Some(held_number), Some(sent_number)) => {
            let as_single = matches!(held, Value::Float(_))
                && f64::from(sent_number as f32).to_bits() == held_number.to_bits();
            held_number.total_cmp(&sent_number).is_eq() || as_single
        }
        _ => false,
    }
}
