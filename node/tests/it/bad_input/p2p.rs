//! From a peer with a committee identity, over QUIC: who breaks a rule that anybody can check is out, who
//! merely knows another state is not, and the rest of the network does not notice.

use super::Forge;
use crate::harness::{Network, PATIENCE, keys};
use alloy_primitives::{Bytes, U64};
use blindfold_committee::secrets::MemberSecrets;
use blindfold_node::{
    member::messages::{self, ShareMessage, pack_envelopes},
    run::channel_specs,
    transport::{ChannelSpec, Identity, PeerControl, Receiver, Sender, Transport, TransportConfig},
};
use blindfold_ordering::{
    block::OrderedBlock,
    engine::{self, channels},
};
use blindfold_sdk::TxStatus;
use blindfold_wire::{
    B256, Block, SignedCommitment,
    bundle::{BundleHeader, ShareBundle},
};
use commonware_codec::Encode as _;
use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::{Manager as _, Recipients, Sender as _};
use commonware_utils::ordered::Set;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::{Instant, sleep};

/// A channel that no member has.
const STRANGE_CHANNEL: u64 = 4_242;
/// Resident memory the member may gain over all of this.
const GAIN_BYTES: u64 = 192 << 20;

/// A transport with a member's identity, in that member's place.
struct Puppet {
    _transport: Transport,
    control: PeerControl,
    ends: BTreeMap<u64, (Sender, Receiver)>,
    victims: Vec<PublicKey>,
}

impl Puppet {
    /// Links up with `victims` only.
    fn start(network: &Network, member: usize, victims: &[usize]) -> Self {
        let config = network.config(member);
        let secrets = std::fs::read_to_string(&config.secrets).unwrap();
        let secrets = MemberSecrets::from_text(&secrets).unwrap();
        let identity = Identity::from_seed(secrets.expose_identity(|seed| *seed)).unwrap();
        let all = engine::identities(&network.genesis).unwrap();
        let victim_keys: Vec<_> = victims.iter().map(|victim| all[*victim].clone()).collect();
        let addresses = victims
            .iter()
            .map(|victim| {
                (all[*victim].clone(), network.config(*victim).network.listen.to_string())
            })
            .collect();
        let [a, b, c, d, e, f, mut envelopes, shares] = channel_specs(&network.genesis);
        // So that it can send what no member takes.
        envelopes.max_message_bytes *= 2;
        let strange = ChannelSpec::small(STRANGE_CHANNEL, "strange");
        let specs = [a, b, c, d, e, f, envelopes, shares, strange];
        let ids = specs.each_ref().map(|spec| spec.id);
        let config = TransportConfig {
            listen: config.network.listen,
            genesis_hash: network.genesis.hash().0,
            identity,
            addresses,
            max_followers: 0,
        };
        let (transport, ends) = Transport::bind(config, specs).unwrap();
        let mut control = transport.control();
        let known = victim_keys.iter().cloned().chain([control.me()]);
        control.track(0, Set::from_iter_dedup(known));
        Self {
            _transport: transport,
            control,
            ends: ids.into_iter().zip(ends).collect(),
            victims: victim_keys,
        }
    }

    fn links(&self) -> usize {
        self.control.connected().len()
    }

    fn send(&mut self, channel: u64, message: Vec<u8>) {
        let (sender, _) = self.ends.get_mut(&channel).unwrap();
        for victim in &self.victims {
            sender.send(
                Recipients::One(victim.clone()),
                bytes::Bytes::from(message.clone()),
                false,
            );
        }
    }

    fn gossip(&mut self, envelopes: &[Bytes]) {
        for message in pack_envelopes(envelopes) {
            self.send(messages::ENVELOPE_CHANNEL, message);
        }
    }
}

async fn until(what: &str, network: &Network, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}: never happened\n{}", network.logs());
        sleep(Duration::from_millis(20)).await;
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Messages that no honest member sends, each with its channel.
fn faults(network: &Network, forge: &Forge) -> Vec<(String, u64, Vec<u8>)> {
    let mut faults = Vec::new();
    let mut fault = |what: &str, channel, message| faults.push((what.to_owned(), channel, message));
    for (reason, bytes) in forge.invalid() {
        let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        fault(reason, messages::ENVELOPE_CHANNEL, [&length[..], &bytes].concat());
    }
    fault("gossip cut short", messages::ENVELOPE_CHANNEL, vec![0, 0, 1]);
    fault("gossip of nothing", messages::ENVELOPE_CHANNEL, vec![0; 4]);
    let garbage = |kind: u8| [&[kind][..], &[0xa5; 200]].concat();
    fault("no share message", messages::SHARE_CHANNEL, Vec::new());
    for (what, kind) in [
        ("share message of an unknown kind", 9),
        ("garbage for a bundle", 1),
        ("garbage for a request", 2),
        ("garbage for openings", 3),
        ("garbage for evidence", 4),
    ] {
        fault(what, messages::SHARE_CHANNEL, garbage(kind));
    }
    let header = BundleHeader {
        chain_id: network.genesis.chain_id,
        settlement: network.genesis.settlement,
        height: 1,
        commitment: B256::repeat_byte(1),
        shares_root: blindfold_wire::bundle::shares_root(&[]),
        member: 0,
    };
    let signature = forge.key.sign_digest(header.digest());
    let forged = ShareBundle { header, shares: Vec::new(), signature };
    fault("forged bundle", messages::SHARE_CHANNEL, ShareMessage::Bundle(forged).encode());
    for (what, channel) in [
        ("garbage for a vote", channels::VOTES),
        ("garbage for a certificate", channels::CERTIFICATES),
        ("garbage for a block", channels::BLOCKS),
        ("garbage for a commitment", channels::COMMITMENTS),
    ] {
        fault(what, channel, vec![0xa5; 300]);
    }
    // A block by every rule of the encoding, which its leader did not sign.
    let parent = Block::genesis(&network.genesis).commitment.commitment;
    let mut commitment = parent.clone();
    (commitment.height, commitment.view, commitment.parent) = (1, 1, parent.digest());
    let signature = forge.key.sign_digest(commitment.digest());
    let commitment = SignedCommitment { commitment, signature };
    let block =
        OrderedBlock::new(Block { commitment, ..Block::genesis(&network.genesis) }).unwrap();
    fault("forged block", channels::BLOCKS, block.encode().to_vec());
    faults
}

/// One running member and thirty-odd identities of others, each with one fault.
#[test]
fn who_breaks_a_rule_is_out_and_who_knows_another_state_is_not() {
    let [key, poor, rich] = keys();
    let probe = Network::prepare(1, &[]);
    let members = 3 + faults(&probe, &Forge::new(&probe.genesis, key.clone())).len();
    drop(probe);
    let mut network = Network::prepare(members, &[key.address(), rich.address()]);
    network.configure(0, |config| config.mempool.max_envelopes = 3);
    network.run(0);
    let network = network;
    let memory = network.resident_bytes(0);
    let forge = Forge::new(&network.genesis, key);
    let faults = faults(&network, &forge);
    assert_eq!(members, 3 + faults.len());
    let client = &network.clients[0];
    let peers = || client.request::<U64>("net_peerCount", ()).unwrap().to::<usize>();
    let pending = |id: B256| {
        client.status(id).ok().flatten().is_some_and(|status| status == TxStatus::Pending)
    };

    runtime().block_on(async {
        let mut honest = Puppet::start(&network, 1, &[0]);
        let mut strange = Puppet::start(&network, 2, &[0]);
        let mut faulty: Vec<_> =
            (3..members).map(|member| Puppet::start(&network, member, &[0])).collect();
        until("all are linked", &network, || {
            honest.links() + strange.links() == 2
                && faulty.iter().all(|puppet| puppet.links() == 1)
                && peers() == members - 1
        })
        .await;

        for (puppet, (_, channel, message)) in faulty.iter_mut().zip(&faults) {
            puppet.send(*channel, message.clone());
        }
        for (puppet, (what, ..)) in faulty.iter().zip(&faults) {
            until(what, &network, || puppet.links() == 0).await;
        }

        // A channel we lack costs its messages, nothing else.
        strange.send(STRANGE_CHANNEL, b"hello".to_vec());
        // Everything that only state decides, then proof that it was all looked at.
        let with = |change: &dyn Fn(&mut blindfold_wire::EnvelopeHeader)| {
            let mut header = forge.header(0);
            change(&mut header);
            Bytes::from(forge.seal(header, b"x").encode())
        };
        let first = forge.good(0);
        let rich = Forge::new(&network.genesis, rich);
        let stateful = [
            Bytes::from(first.encode()),
            Bytes::from(first.encode()),
            with(&|_| {}),
            with(&|header| header.expiry_height = 0),
            with(&|header| header.expiry_height = 1_000_000),
            with(&|header| header.payer_nonce = 1_000),
            with(&|header| (header.max_fee_per_gas, header.max_priority_fee_per_gas) = (0, 0)),
            Forge::new(&network.genesis, poor).good(0).encode().into(),
            forge.good(1).encode().into(),
            forge.good(2).encode().into(),
            // Full.
            rich.good(0).encode().into(),
        ];
        honest.gossip(&stateful);
        let mut header = rich.header(0);
        header.max_fee_per_gas *= 2;
        header.max_priority_fee_per_gas *= 2;
        let better = rich.seal(header, b"pays more than what is pooled");
        honest.gossip(&[better.encode().into()]);
        until("a better envelope is admitted", &network, || pending(better.id())).await;
        assert!(pending(first.id()), "what was there first stays");
        assert_eq!((honest.links(), strange.links()), (1, 1), "{}", network.logs());

        // Blocked for good: they have dialed in vain by now.
        assert_eq!(peers(), 2, "{}", network.logs());
        assert!(faulty.iter().all(|puppet| puppet.links() == 0));
        // A frame beyond the limit costs even the honest one its link, for a while.
        honest.send(messages::ENVELOPE_CHANNEL, vec![0; messages::MAX_ENVELOPE_MESSAGE_BYTES + 1]);
        until("an oversized frame ends the link", &network, || honest.links() == 0).await;
        until("one peer is left", &network, || peers() == 1).await;
    });
    let gain = network.resident_bytes(0).saturating_sub(memory);
    assert!(gain < GAIN_BYTES, "gained {gain} bytes");
}

/// Three members order while a fourth identity throws at them all it can.
#[test]
fn a_network_goes_on_under_a_faulty_member() {
    let [key] = keys();
    let mut network = Network::prepare(4, &[key.address()]);
    (0..3).for_each(|member| network.spawn(member));
    (0..3).for_each(|member| network.until_answers(member));
    let mut payer = network.wallet(key.clone());
    let forge = Forge::new(&network.genesis, key);
    runtime().block_on(async {
        let mut puppet = Puppet::start(&network, 3, &[0, 1, 2]);
        until("linked", &network, || puppet.links() == 3).await;
        // Within the rules of the framing, so that it takes a look to see what it is.
        for _ in 0..200 {
            puppet.send(channels::RESOLVER, vec![0x5a; 2_000]);
            puppet.send(channels::BACKFILL, vec![0x5a; 2_000]);
            puppet.send(STRANGE_CHANNEL, vec![0x5a; 2_000]);
        }
        for (_, channel, message) in faults(&network, &forge) {
            puppet.send(channel, message);
        }
        until("nobody keeps the link", &network, || puppet.links() == 0).await;
    });
    let sent = payer.send(&network, 0, 3);
    for member in 0..3 {
        network.expect_executed(member, &sent);
    }
    network.expect_agreement(&[0, 1, 2]);
}
