//! AddOffsetsToTxn, key 25, versions 0-4.
//!
//! 1: throttling. 2 (KIP-588): PRODUCER_FENCED instead of INVALID_PRODUCER_EPOCH. 3: flexible. 4 (KIP-890): no change here.
//! The group's partition of `__consumer_offsets` becomes part of the transaction.

use super::{
    Api,
    bounds::*,
    group_fields::{group, shared},
    versions,
};
use crate::{
    groups::{self, Groups, OFFSETS_TOPIC},
    transactions::{self, Transactions},
};
use kafka_protocol::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, ApiKey};
use tifo_coordinator::transaction::{AddPartitionsRequest, ClientVersion, Producer};

const LAYOUT: Layout = Layout::new(3, &[field(Kind::String), field(INT64), field(INT16), field(Kind::String)]);

pub const API: Api = Api {
    key: ApiKey::AddOffsetsToTxn,
    name: "AddOffsetsToTxn",
    advertised: versions(0, 4),
    served: versions(0, 4),
    request: LAYOUT,
    handle: |services, call| {
        let (transactions, groups) = (services.transactions.clone(), services.groups.clone());
        call.answer(|request, context| async move {
            let code = handle(&transactions, &groups, &request, context.version).await;
            AddOffsetsToTxnResponse::default().with_error_code(code)
        })
    },
};

/// The first version whose clients know PRODUCER_FENCED.
const FENCED_SINCE: i16 = 2;

async fn handle(transactions: &Transactions, groups: &Groups, request: &AddOffsetsToTxnRequest, version: i16) -> i16 {
    let partition = match groups.partition_of(&group(&request.group_id)).await {
        Ok(partition) => partition,
        Err(error) => return groups::code(Some(error)),
    };
    let request = AddPartitionsRequest {
        transactional_id: shared(&request.transactional_id),
        producer: Producer { id: request.producer_id.0, epoch: request.producer_epoch },
        partitions: vec![(OFFSETS_TOPIC.into(), partition)],
        version: ClientVersion::V1,
    };
    let error = transactions.add_partitions(&request).await.err();
    error.map_or(0, |error| match version {
        FENCED_SINCE.. => transactions::code(error),
        _ => transactions::code_before_fenced(error),
    })
}
