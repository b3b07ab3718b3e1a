//! What a dishonest poster can do to a batch, one thing at a time.

use alloy_primitives::B256;
use blindfold_wire::{Opening, Signature65, order_root};

use super::{FITTING, HISTORY, Post, start};
use crate::{
    accumulator::{AccumulatorLeaf, OpeningLeaf, signature_hash},
    codec::PostedItem,
    derive,
    evidence::OffenceKind,
    find::{Refusal, check_rules},
    testkit::Kind,
};

/// What must come of a mutation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// L1 does not accept it.
    Refused(Refusal),
    /// It is proven at once, among other things as this.
    Proven(OffenceKind),
    /// It is asked for at this place.
    Asked(u64, Option<u32>),
    /// It is proven by what the committee certified of this place, and by nothing else.
    Disowned(u64, u32),
}

/// A name, the batch that results, whether its data is published, and what must come of it.
pub(super) struct Mutation {
    pub(super) name: &'static str,
    pub(super) post: Post,
    pub(super) data: Option<Vec<u8>>,
    pub(super) outcome: Outcome,
}

fn mutation(name: &'static str, post: Post, outcome: Outcome) -> Mutation {
    let data = Some(post.bytes());
    Mutation { name, post, data, outcome }
}

/// An envelope that nobody ordered.
fn foreign() -> (PostedItem, B256, Opening) {
    // An account of a number that the history never came to.
    let (envelope, opening) = HISTORY.item_of(1_000_000, Kind::EtherTransfer);
    (PostedItem::new(&envelope, &opening), envelope.id(), opening)
}

pub(super) fn all() -> Vec<Mutation> {
    let mut all = orders();
    all.extend(openings());
    all.extend(commitments());
    all.extend(data());
    all
}

fn orders() -> Vec<Mutation> {
    let mut all = Vec::new();
    let reordering = Outcome::Proven(OffenceKind::Reordering);
    let chain = Outcome::Proven(OffenceKind::BrokenChain);

    // Two positions exchanged, in the data and among the openings.
    let swap = |height: usize, a: usize, b: usize| {
        let mut post = Post::all();
        post.data.heights[height].items.swap(a, b);
        let (i, j) = (post.index(height, a), post.index(height, b));
        post.openings.swap(i, j);
        (post.openings[i].position, post.openings[j].position) = (a as u32, b as u32);
        post
    };
    for (height, a, b) in [(0, 0, 10), (3, 1, 2), (4, 0, 1)] {
        all.push(mutation("swap", swap(height, a, b).seal(), reordering.clone()));
    }
    // The same, and the leaf has the order root of what was posted.
    let mut post = swap(3, 1, 2);
    let ids: Vec<_> = (0..6).map(|i| post.openings[post.index(3, i)].id).collect();
    post.heights[3].order_root = order_root(&ids);
    all.push(mutation("swap with its order root", post.clone().seal(), chain.clone()));
    // The same, and the leaf has the digest of a commitment to it, which nobody finalized.
    let mut forged = HISTORY.heights[3].signed.commitment.clone();
    forged.order_root = order_root(&ids);
    post.heights[3].digest = forged.digest();
    all.push(mutation("swap with its digest", post.seal(), chain.clone()));
    // In the last height L1 compares the leaf with what is certified.
    let mut post = swap(4, 0, 1);
    let ids: Vec<_> = (0..11).map(|i| post.openings[post.index(4, i)].id).collect();
    post.heights[4].order_root = order_root(&ids);
    all.push(mutation(
        "swap in the last height with its order root",
        post.seal(),
        Outcome::Refused(Refusal::BadLastLeaf),
    ));
    // Only the leaves' places are exchanged, the data is right.
    let mut post = Post::all();
    let index = post.index(3, 4);
    post.openings.swap(index, index + 1);
    all.push(mutation("leaves exchanged", post.seal(), Outcome::Asked(1, Some(0))));

    // One left out, in the middle of the batch.
    let drop = |height: usize, position: usize| {
        let mut post = Post::all();
        post.data.heights[height].items.remove(position);
        let index = post.index(height, position);
        post.openings.remove(index);
        for (position, leaf) in
            (0u32..).zip(post.openings.iter_mut().filter(|leaf| leaf.height == height as u64 + 1))
        {
            leaf.position = position;
        }
        post
    };
    let mut post = drop(0, 2);
    post.shift(0, -1);
    all.push(mutation("drop", post.seal(), chain.clone()));
    let mut post = drop(3, 5);
    post.shift(3, -1);
    all.push(mutation("drop the last of a height", post.seal(), chain.clone()));
    // Offsets as certified: then the number of openings must be, too, and the root is over fewer.
    let mut post = drop(0, 2).seal();
    post.header.opening_count += 1;
    all.push(mutation("drop, offsets as certified", post, chain.clone()));
    let post = drop(4, 3).seal();
    all.push(mutation(
        "drop in the last height",
        post.clone(),
        Outcome::Refused(Refusal::BadLastLeaf),
    ));
    let mut post = drop(4, 3);
    post.heights[4].offset -= 1;
    all.push(mutation("drop in the last height, with its offset", post.seal(), chain.clone()));

    // One that nobody ordered.
    let insert = |height: usize, position: usize| {
        let (item, id, opening) = foreign();
        let mut post = Post::all();
        post.data.heights[height].items.insert(position, item);
        let index = post.index(height, position);
        post.openings.insert(index, OpeningLeaf::of(height as u64 + 1, 0, id, &opening));
        for (position, leaf) in
            (0u32..).zip(post.openings.iter_mut().filter(|leaf| leaf.height == height as u64 + 1))
        {
            leaf.position = position;
        }
        post
    };
    let mut post = insert(3, 2);
    post.shift(3, 1);
    all.push(mutation("insert", post.seal(), chain.clone()));
    let mut post = insert(1, 0);
    post.shift(1, 1);
    all.push(mutation("insert into an empty height", post.seal(), chain));
    // One in place of another: the numbers fit.
    let (item, id, opening) = foreign();
    let mut post = Post::all();
    post.data.heights[3].items[3] = item;
    let index = post.index(3, 3);
    post.openings[index] = OpeningLeaf::of(4, 3, id, &opening);
    all.push(mutation("replace", post.seal(), reordering));
    all
}

fn openings() -> Vec<Mutation> {
    let mut all = Vec::new();
    let wrong = Outcome::Proven(OffenceKind::WrongOpening);
    let certified =
        |height: usize, position: usize| HISTORY.heights[height].opened.items()[position].clone();
    let mut open_as = |name, (height, position): (usize, usize), opening: Opening, outcome| {
        let mut post = Post::all();
        post.open_as(height, position, &opening);
        all.push(mutation(name, post.seal(), outcome));
    };
    let Opening::Opened { seed, message } = certified(0, 0).opening else {
        panic!("the first one opens")
    };
    let mut other_seed = seed;
    other_seed[5] ^= 4;
    let mut other_message = message.clone();
    other_message[100] ^= 1;
    let opened = |seed, message: &[u8]| Opening::Opened { seed, message: message.to_vec() };
    open_as("other seed", (0, 0), opened(other_seed, &message), wrong.clone());
    open_as("other message", (0, 0), opened(seed, &other_message), wrong.clone());
    open_as("no message", (0, 0), opened(seed, b""), wrong.clone());
    let secret = HISTORY.secret(&certified(0, 0).envelope);
    let other_secret = HISTORY.secret(&certified(0, 1).envelope);
    let undecryptable = |secret| Opening::Undecryptable { secret };
    open_as("called undecryptable", (0, 0), undecryptable(other_secret), wrong.clone());
    // L1 finds nothing wrong with a right secret, nor with an opening that leads to the right u.
    open_as(
        "called undecryptable, right secret",
        (0, 0),
        undecryptable(secret),
        Outcome::Disowned(1, 0),
    );
    for (name, (height, position)) in [
        ("called undecryptable, right secret, certified by the height above's child", (3, 2)),
        ("called undecryptable, right secret, in the last height", (4, 1)),
    ] {
        let secret = HISTORY.secret(&certified(height, position).envelope);
        let outcome = Outcome::Disowned(height as u64 + 1, position as u32);
        open_as(name, (height, position), undecryptable(secret), outcome);
    }
    let tale = HISTORY.fitting(FITTING);
    open_as("opened as what fits u", (2, 1), tale, Outcome::Disowned(3, 1));

    // The last kind is undecryptable.
    let secret = HISTORY.secret(&certified(0, 10).envelope);
    let mut flipped = secret;
    flipped[0] ^= 0x20;
    let mut not_on_curve = secret;
    while blst::min_sig::Signature::uncompress(&not_on_curve).is_ok() {
        not_on_curve[47] = not_on_curve[47].wrapping_add(1);
    }
    // x = 0 is on the curve and of order three.
    let mut small_order = [0; 48];
    small_order[0] = 0x80;
    let mut infinity = [0; 48];
    infinity[0] = 0xc0;
    for (name, secret) in [
        ("another envelope's secret", other_secret),
        ("negated secret", flipped),
        ("secret on no curve", not_on_curve),
        ("secret of small order", small_order),
        ("secret at infinity", infinity),
        ("secret without flags", [0; 48]),
        ("secret beyond the modulus", [0xbf; 48]),
    ] {
        open_as(name, (0, 10), undecryptable(secret), wrong.clone());
    }
    open_as("undecryptable called opened", (4, 10), opened([9; 32], b"tale"), wrong);
    all
}

fn commitments() -> Vec<Mutation> {
    let mut all = Vec::new();
    let chain = Outcome::Proven(OffenceKind::BrokenChain);
    let forged = Outcome::Proven(OffenceKind::ForgedCommitment);

    // A field of a commitment garbled in the data; the leaves are right.
    let mut post = Post::all();
    post.data.heights[2].timestamp_ms += 1;
    all.push(mutation("garbled commitment", post.clone().seal(), Outcome::Asked(3, None)));
    // Its leaf has the digest of the garbled one.
    let mut garbled = HISTORY.heights[2].signed.commitment.clone();
    garbled.timestamp_ms += 1;
    post.heights[2].digest = garbled.digest();
    all.push(mutation("garbled commitment with its digest", post.seal(), chain.clone()));
    // From there on everything has other digests.
    let mut post = Post::all();
    let mut parent = None;
    for (index, height) in HISTORY.heights.iter().enumerate().skip(2) {
        let mut commitment = height.signed.commitment.clone();
        commitment.timestamp_ms += u64::from(index == 2);
        commitment.parent = parent.unwrap_or(commitment.parent);
        let digest = commitment.digest();
        (post.heights[index].digest, parent) = (digest, Some(digest));
    }
    post.data.heights[2].timestamp_ms += 1;
    let refused = Outcome::Refused(Refusal::BadLastLeaf);
    all.push(mutation("garbled commitment, others follow", post.seal(), refused.clone()));
    // The last commitment is the certified one, or none at all.
    let mut post = Post::all();
    post.header.last_commitment = B256::ZERO;
    let refused_last = Outcome::Refused(Refusal::BadCertificate);
    all.push(mutation("other last commitment", post, refused_last));

    // Another member's signature, a garbled one, and its mirror image.
    let other = HISTORY.committee.members.iter().find(|member| {
        member.signer.address() != HISTORY.leaders.leader(HISTORY.heights[3].signed.commitment.view)
    });
    let digest = HISTORY.heights[3].signed.digest();
    let honest = HISTORY.heights[3].signed.signature;
    let mut signatures = vec![
        ("signed by another member", other.unwrap().signer.sign_digest(digest)),
        ("signed by nobody", Signature65::ZERO),
    ];
    let mut garbled = honest;
    garbled.s[0] ^= 1;
    signatures.push(("garbled signature", garbled));
    let mut garbled = honest;
    garbled.y_parity ^= true;
    signatures.push(("other parity", garbled));
    for (name, signature) in signatures {
        let mut post = Post::all();
        post.data.heights[3].signature = signature;
        // The leaf is right: the data is not what was posted.
        all.push(mutation(name, post.clone(), Outcome::Asked(4, None)));
        post.heights[3].signature_hash = signature_hash(&signature);
        all.push(mutation(name, post.seal(), forged.clone()));
    }
    // In the last height, too.
    let mut post = Post::all();
    post.data.heights[4].signature = Signature65::ZERO;
    post.heights[4].signature_hash = signature_hash(&Signature65::ZERO);
    all.push(mutation("last signed by nobody", post.seal(), forged));

    // Leaves that say what no data says: asked for.
    let leaf = |index: usize, change: &dyn Fn(&mut AccumulatorLeaf)| {
        let mut post = Post::all();
        change(&mut post.heights[index]);
        post.seal()
    };
    let asked = Outcome::Asked(1, None);
    all.push(mutation("wrong offset", leaf(2, &|leaf| leaf.offset += 1), asked.clone()));
    all.push(mutation("wrong height", leaf(2, &|leaf| leaf.height += 1), asked.clone()));
    all.push(mutation("wrong order root", leaf(2, &|l| l.order_root = B256::ZERO), asked.clone()));
    all.push(mutation("wrong digest", leaf(2, &|leaf| leaf.digest = B256::ZERO), asked.clone()));
    all.push(mutation("no signature", leaf(2, &|l| l.signature_hash = B256::ZERO), asked));
    for (name, change) in [
        (
            "wrong last offset",
            (&|leaf: &mut AccumulatorLeaf| leaf.offset += 1) as &dyn Fn(&mut AccumulatorLeaf),
        ),
        ("wrong last height", &|leaf| leaf.height += 1),
        ("wrong last order root", &|leaf| leaf.order_root = B256::ZERO),
        ("wrong last digest", &|leaf| leaf.digest = B256::ZERO),
    ] {
        all.push(mutation(name, leaf(4, change), refused.clone()));
    }
    // Every offset moved alike: the first one shows it.
    let mut post = Post::all();
    for leaf in &mut post.heights {
        leaf.offset += 1;
    }
    let mut post = post.seal();
    post.header.opening_count += 1;
    all.push(mutation("all offsets moved", post, chain));
    // A leaf too many or too few.
    let mut post = Post::all();
    post.heights.remove(1);
    all.push(mutation("height left out", post.seal(), refused.clone()));
    let mut post = Post::all();
    post.heights.insert(1, post.heights[1]);
    all.push(mutation("height twice", post.seal(), refused.clone()));
    let mut post = Post::all();
    post.header.accumulator_root = B256::repeat_byte(3);
    all.push(mutation("wrong accumulator root", post, refused));
    let mut post = Post::all();
    post.header.opening_root = B256::repeat_byte(3);
    all.push(mutation("wrong opening root", post, Outcome::Asked(1, Some(0))));
    let mut post = Post::all();
    post.header.parent = B256::ZERO;
    all.push(mutation("above another batch", post, Outcome::Refused(Refusal::BrokenChain)));
    let mut post = Post::all();
    post.header.first_height = 2;
    all.push(mutation("begins too late", post, Outcome::Refused(Refusal::BrokenChain)));
    all
}

fn data() -> Vec<Mutation> {
    let post = Post::all();
    let bytes = post.bytes();
    let asked = Outcome::Asked(1, None);
    let with =
        |name, data: Option<Vec<u8>>, outcome| Mutation { name, post: post.clone(), data, outcome };
    let mut other = post.data.clone();
    other.heights.pop();
    let mut garbled = post.data.clone();
    if let PostedItem::Opened(opened) = &mut garbled.heights[3].items[1] {
        opened.seed[0] ^= 1;
    }
    vec![
        with("no data", None, asked.clone()),
        with("truncated data", Some(bytes[..bytes.len() - 1].to_vec()), asked.clone()),
        with("no bytes", Some(Vec::new()), asked.clone()),
        with("a height missing", Some(crate::codec::encode(&other).unwrap()), asked),
        with(
            "garbled opening, leaves as certified",
            Some(crate::codec::encode(&garbled).unwrap()),
            Outcome::Asked(4, Some(1)),
        ),
    ]
}

#[test]
fn the_rules_accept_what_is_honest() {
    let post = Post::all();
    let (leaf, proof) = post.last_leaf();
    assert_eq!(check_rules(&start(), &post.header, &post.last, &leaf, &proof), Ok(()));
    assert_eq!(post.clone().seal().header, post.header);
    let derived = derive::derive(
        &super::CHAIN,
        &start(),
        &post.header,
        &post.bytes(),
        &derive::InboxChecked,
        1,
    );
    assert!(derived.is_ok());
}
