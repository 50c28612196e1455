//! DescribeCluster, key 60, versions 0-2 (KIP-700).
//!
//! 1 (KIP-919): brokers or controllers may be asked for. 2 (KIP-1073): fenced brokers. There is one node, never fenced.
//! Left out: controllers; there is no controller's port to name, as Kafka says to who asks a broker for them.

use super::{Api, Context, bounds::*, metadata::CLUSTER_OPERATIONS, versions};
use crate::cluster::Cluster;
use kafka_protocol::{
    ResponseError,
    messages::{
        ApiKey, BrokerId, DescribeClusterRequest, DescribeClusterResponse,
        describe_cluster_response::DescribeClusterBroker,
    },
    protocol::StrBytes,
};

const LAYOUT: Layout = Layout::new(0, &[field(BOOLEAN), field(INT8).since(1), field(BOOLEAN).since(2)]);

pub const API: Api = Api {
    key: ApiKey::DescribeCluster,
    name: "DescribeCluster",
    advertised: versions(0, 2),
    served: versions(0, 2),
    request: LAYOUT,
    handle: |services, call| {
        let cluster = services.cluster.clone();
        call.answer(move |request, context| std::future::ready(handle(&cluster, &request, &context)))
    },
};

/// KIP-919: whose endpoints are asked for.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

fn handle(cluster: &Cluster, request: &DescribeClusterRequest, context: &Context) -> DescribeClusterResponse {
    match request.endpoint_type {
        BROKERS => {}
        CONTROLLERS => {
            let complaint =
                "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER";
            return refused(ResponseError::MismatchedEndpointType, complaint.to_owned());
        }
        other => return refused(ResponseError::UnsupportedEndpointType, format!("Unsupported endpoint type {other}")),
    }
    let endpoint = cluster.endpoint(context.local);
    let broker = DescribeClusterBroker::default()
        .with_broker_id(BrokerId(cluster.node_id))
        .with_host(StrBytes::from_string(endpoint.host))
        .with_port(endpoint.port.into())
        .with_rack(None);
    let response = DescribeClusterResponse::default()
        .with_error_message(None)
        .with_cluster_id(StrBytes::from_string(cluster.cluster_id.clone()))
        .with_controller_id(BrokerId(cluster.node_id))
        .with_brokers(vec![broker]);
    match request.include_cluster_authorized_operations {
        true => response.with_cluster_authorized_operations(CLUSTER_OPERATIONS),
        false => response,
    }
}

fn refused(error: ResponseError, complaint: String) -> DescribeClusterResponse {
    DescribeClusterResponse::default()
        .with_error_code(error.code())
        .with_error_message(Some(StrBytes::from_string(complaint)))
        .with_controller_id(BrokerId(-1))
}
