//! `channels.status`, `send`, `poll`.

use std::collections::BTreeMap;

use adjutant_domain::code::Code;
use adjutant_protocol::methods::channels::{
    ChannelPoll, ChannelSend, ChannelsReport, ChannelsStatus, ChannelsStatusParams, PollParams,
    SendParams, Sent,
};
use adjutant_protocol::{Caller, Fault, Handle};

use crate::core::Core;

impl Handle<ChannelsStatus> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        _params: ChannelsStatusParams,
    ) -> Result<ChannelsReport, Fault> {
        Ok(ChannelsReport {
            ts: self.now(),
            channel_order: Vec::new(),
            channel_labels: BTreeMap::new(),
            channel_detail_labels: BTreeMap::new(),
            channel_system_images: BTreeMap::new(),
            channel_meta: Vec::new(),
            channels: BTreeMap::new(),
            channel_accounts: BTreeMap::new(),
            channel_default_account_id: BTreeMap::new(),
        })
    }
}

impl Handle<ChannelSend> for Core {
    async fn handle(&self, _caller: &Caller, params: SendParams) -> Result<Sent, Fault> {
        Err(no_channel(params.channel.as_deref()))
    }
}

impl Handle<ChannelPoll> for Core {
    async fn handle(&self, _caller: &Caller, params: PollParams) -> Result<Sent, Fault> {
        Err(no_channel(params.channel.as_deref()))
    }
}

fn no_channel(named: Option<&str>) -> Fault {
    let message = match named {
        Some(name) => {
            let name: String = name.chars().take(64).collect();
            format!("unsupported channel: {name} (no configured channels detected)")
        }
        None => "Channel is required (no configured channels detected).".to_owned(),
    };
    Fault::new(Code::InvalidRequest, message)
}
