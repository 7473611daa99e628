//! Serializable transactions over replicated ranges: the coordinator at the gateway, the participant at the leaseholder.
