//! Members that break rules: whole nodes with something between them and the network.
//!
//! The harness starts this test binary again, as a process that runs [`member`] alone. What it does wrong
//! is said by an environment variable; everything else of the node is the product's.

use crate::harness::processes::{CONFIG_VARIABLE, Launch};
use blindfold_node::{
    member::messages::ShareMessage,
    run::{self, Loaded, NodeChannels},
};
use blindfold_wire::{ShareBundle, SigningKey};
use commonware_runtime::{Runner as _, tokio as runtime};
use std::{io::Read as _, path::Path, sync::Arc};

/// Names the fault to the child.
const FAULT_VARIABLE: &str = "BLINDFOLD_TEST_FAULT";

/// What a faulty member does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Signs shares that are points of the curve, and not its own: each position's is its neighbour's, or,
    /// where there is none, the negated one.
    WrongShares,
    /// Signs shares that are no points at all.
    Nonsense,
    /// Sends bytes that are no message instead of its bundles.
    Bytes,
    /// Sends no bundle.
    Silence,
}

impl Fault {
    const ALL: [Self; 4] = [Self::WrongShares, Self::Nonsense, Self::Bytes, Self::Silence];

    /// How the harness starts a member with this fault.
    pub fn launch(self) -> Launch {
        let this = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
        let entry = ["--exact", "faults::faulty::member", "--ignored", "--nocapture"];
        Launch {
            program: Some(
                [&[this.as_str()][..], &entry].concat().iter().map(ToString::to_string).collect(),
            ),
            environment: vec![(FAULT_VARIABLE.to_owned(), format!("{self:?}"))],
            ..Launch::default()
        }
    }

    fn apply(self, bundle: ShareBundle, signer: &SigningKey) -> Option<Vec<u8>> {
        let mut shares = bundle.shares.clone();
        match self {
            Self::Silence => return None,
            Self::Bytes => return Some(vec![0xa5; 300]),
            Self::Nonsense => shares.iter_mut().for_each(|share| share.0 = [0x5a; 96]),
            Self::WrongShares if shares.len() > 1 => shares.rotate_left(1),
            Self::WrongShares => shares.iter_mut().for_each(|share| negate(&mut share.0)),
        }
        let header = bundle.header;
        let bundle = ShareBundle::sign(
            header.chain_id,
            header.settlement,
            header.height,
            header.commitment,
            header.member,
            shares,
            signer,
        );
        Some(ShareMessage::Bundle(bundle).encode())
    }
}

/// −P of an uncompressed point: y becomes p − y.
fn negate(point: &mut [u8; 96]) {
    const P: [u8; 48] = alloy_primitives::hex!(
        "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab"
    );
    let mut borrow = 0;
    for (ours, theirs) in point[48..].iter_mut().zip(P).rev() {
        let difference = i16::from(theirs) - i16::from(*ours) - borrow;
        borrow = i16::from(difference < 0);
        *ours = difference.rem_euclid(256) as u8;
    }
}

/// Not a test: what a child process of the harness runs. Started by hand it does nothing.
#[test]
#[ignore = "a stand-in for a member, started by other tests"]
fn member() {
    let (Some(config), Ok(fault)) =
        (std::env::var_os(CONFIG_VARIABLE), std::env::var(FAULT_VARIABLE))
    else {
        return;
    };
    let fault = Fault::ALL.into_iter().find(|known| format!("{known:?}") == fault).unwrap();
    let loaded = Loaded::read(Path::new(&config)).unwrap();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(&loaded.config.log_filter))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let signer = loaded.secrets.as_ref().unwrap().signing_key().unwrap();
    let seam = move |channels: NodeChannels| {
        let rewrite = move |message: bytes::Bytes| match ShareMessage::decode(&message) {
            Ok(ShareMessage::Bundle(bundle)) => fault.apply(bundle, &signer).map(Into::into),
            _ => Some(message),
        };
        let (sender, receiver) = channels.shares;
        NodeChannels { shares: (sender.rewritten(Arc::new(rewrite)), receiver), ..channels }
    };
    let storage = loaded.config.data_dir.join("engine");
    std::fs::create_dir_all(&storage).unwrap();
    let runner = runtime::Runner::new(runtime::Config::new().with_storage_directory(storage));
    runner.start(|context| async move {
        let mut node = run::start(context, loaded, seam).await.unwrap();
        let (closed, stdin_closed) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let _ = std::io::stdin().read(&mut [0]);
            let _ = closed.send(());
        });
        tokio::select! {
            reason = node.failed() => panic!("{reason}"),
            _ = stdin_closed => node.stop().await,
        }
    });
}
