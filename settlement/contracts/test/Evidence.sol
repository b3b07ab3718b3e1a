// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import "./World.sol";

/// True evidence for every offence. Each function commits the offence and returns the call data that proves
/// it; the culprit is member 0 for what is signed and member 2 for what is posted.
abstract contract Evidence is World {
    uint256 internal constant LEADER = 0;
    uint256 internal constant POSTER = 2;

    bytes32 internal constant GENESIS = keccak256("genesis");

    // ---- signed

    function equivocation() internal view returns (bytes memory) {
        OrderCommitment memory first = commitment(7);
        OrderCommitment memory second = commitment(7);
        second.orderRoot = keccak256("another order");
        return abi.encodeCall(
            SlasherAbi.verifyEquivocation,
            (
                SignedCommitment(first, sign(signerSecrets[LEADER], digestOf(first))),
                SignedCommitment(second, sign(signerSecrets[LEADER], digestOf(second)))
            )
        );
    }

    function bundle(uint64 height, bytes32 digest, bytes32 sharesRoot) internal view returns (ShareBundle memory) {
        return ShareBundle(p.l2ChainId, a.inbox, height, digest, sharesRoot, uint32(LEADER));
    }

    function signBundle(ShareBundle memory b) internal view returns (SignedBundle memory) {
        return SignedBundle(b, sign(signerSecrets[LEADER], digestOf(b)));
    }

    function doubleRelease() internal view returns (bytes memory) {
        SignedBundle memory first = signBundle(bundle(9, keccak256("one"), keccak256("shares")));
        SignedBundle memory second = signBundle(bundle(9, keccak256("two"), keccak256("shares")));
        return abi.encodeCall(SlasherAbi.verifyDoubleRelease, (first, second, 0));
    }

    /// Evidence about a share that is scalar·u, or any 96 bytes.
    function badShare(uint256 scalar) internal view returns (bytes memory) {
        (SealedEnvelope memory e,) = sealEnvelope(Sealing(0xa11ce, 3, keccak256("seed"), "hello"));
        return badShareOf(e, words(mul(uOf(e), scalar)));
    }

    function badShareOf(SealedEnvelope memory e, bytes32[3] memory share) internal view returns (bytes memory) {
        BadShareEvidence memory out;
        Height memory h;
        h.ids = new bytes32[](3);
        (h.ids[0], h.ids[1], h.ids[2]) = (keccak256("x"), keccak256(e.preimage), keccak256("y"));
        h.commitment = commitment(9);
        seal(h);
        bytes32[] memory leaves = new bytes32[](3);
        leaves[0] = keccak256("share 0");
        leaves[1] = keccak256(
            abi.encodePacked("BLINDFOLD-V1/share-leaf/", uint32(1), share[0], share[1], share[2])
        );
        leaves[2] = keccak256("share 2");
        out.bundle = bundle(9, digestOf(h.commitment), Trees.root(leaves));
        out.signature = sign(signerSecrets[LEADER], digestOf(out.bundle));
        out.share = share;
        out.shareProof = Trees.prove(leaves, 1);
        out.commitment = h.commitment;
        out.preimage = e.preimage;
        out.uY = e.uY;
        out.orderProof = Trees.prove(orderLeaves(h), 1);
        return abi.encodeCall(SlasherAbi.verifyBadShare, (out));
    }

    function uOf(SealedEnvelope memory e) internal view returns (uint256[4] memory u) {
        Envelopes.Fields memory f = this.parse(e.preimage);
        (,, u[0], u[1]) = Bls.splitCompressed(f.u.head, f.u.tail);
        (u[2], u[3]) = (e.uY[0], e.uY[1]);
    }

    function parse(bytes calldata preimage) external pure returns (Envelopes.Fields memory) {
        return Envelopes.parse(preimage);
    }

    function mul(uint256[4] memory point, uint256 scalar) internal view returns (uint256[4] memory product) {
        bool ok;
        (ok, product) = Bls.mulChecked(point, scalar);
        require(ok, "mul");
    }

    /// x ‖ y, 48 bytes each, in three words.
    function words(uint256[4] memory point) internal pure returns (bytes32[3] memory) {
        bytes memory raw = abi.encodePacked(uint128(point[0]), point[1], uint128(point[2]), point[3]);
        return abi.decode(raw, (bytes32[3]));
    }

    /// A point on the curve that has order 3 (x = 0, y = 2), added to `point`.
    function addTorsion(uint256[4] memory point) internal view returns (uint256[4] memory) {
        return Bls.add(point, [uint256(0), 0, 0, 2]);
    }

    // ---- posted

    function reorderingEvidence(Draft memory d, Batch memory b, uint256 height, uint32 position)
        internal
        pure
        returns (bytes memory)
    {
        uint256 index = uint256(d.leaves[height].offset) + position;
        return abi.encodeCall(
            PosterAbi.verifyReordering,
            (
                ReorderingEvidence({
                    batch: b,
                    leaf: d.leaves[height],
                    leafProof: leafProof(d, height),
                    commitment: d.heights[height].commitment,
                    posted: d.openings[index],
                    openingProof: openingProof(d, index),
                    orderedId: d.heights[height].ids[position],
                    orderProof: Trees.prove(orderLeaves(d.heights[height]), position)
                })
            )
        );
    }

    /// Two envelopes of the second height have changed places.
    function swapped() internal returns (bytes memory) {
        Draft memory d = draft(1, GENESIS, counts(2, 5, 1));
        (d.openings[3].id, d.openings[5].id) = (d.openings[5].id, d.openings[3].id);
        roots(d);
        return reorderingEvidence(d, post(d, POSTER), 1, 1);
    }

    /// One envelope more than ordered, and the last left out for it.
    function inserted() internal returns (bytes memory) {
        Draft memory d = draft(1, GENESIS, counts(2, 5, 1));
        for (uint256 i = 6; i > 2; --i) {
            d.openings[i].id = d.openings[i - 1].id;
        }
        d.openings[2].id = keccak256("my own");
        roots(d);
        return reorderingEvidence(d, post(d, POSTER), 1, 0);
    }

    /// An envelope left out, and those of the height above in its place.
    function omitted() internal returns (bytes memory) {
        Draft memory d = draft(1, GENESIS, counts(2, 5, 1));
        d.openings[6] = d.openings[7];
        roots(d);
        return reorderingEvidence(d, post(d, POSTER), 1, 4);
    }

    function brokenLeafEvidence(Draft memory d, Batch memory b, uint256 height) internal pure returns (bytes memory) {
        return abi.encodeCall(
            PosterAbi.verifyBrokenLeaf,
            (BrokenLeafEvidence(b, d.leaves[height], leafProof(d, height), d.heights[height].commitment))
        );
    }

    function wrongHeight() internal returns (bytes memory) {
        Draft memory d = draft(1, GENESIS, counts(2, 5, 1));
        d.leaves[1].height = 7;
        roots(d);
        return brokenLeafEvidence(d, post(d, POSTER), 1);
    }

    function wrongCommitmentHeight() internal returns (bytes memory) {
        Draft memory d = draft(1, GENESIS, counts(2, 5, 1));
        d.heights[1].commitment.height = 9;
        seal(d.heights[1]);
        d.leaves[1].digest = digestOf(d.heights[1].commitment);
        roots(d);
        return brokenLeafEvidence(d, post(d, POSTER), 1);
    }

    function wrongOrderRoot() internal returns (bytes memory) {
        Draft memory d = draft(1, GENESIS, counts(2, 5, 1));
        d.leaves[0].orderRoot = keccak256("another");
        roots(d);
        return brokenLeafEvidence(d, post(d, POSTER), 0);
    }

    function wrongFirstOffset() internal returns (bytes memory) {
        Draft memory d = draft(1, GENESIS, counts(2, 5, 1));
        d.leaves[0].offset = 1;
        roots(d);
        return brokenLeafEvidence(d, post(d, POSTER), 0);
    }

    function linkEvidence(Draft memory d, Batch memory b) internal pure returns (BrokenLinkEvidence memory e) {
        e.batch = b;
        (e.lower, e.lowerProof) = (d.leaves[0], leafProof(d, 0));
        (e.upper, e.upperProof) = (d.leaves[1], leafProof(d, 1));
    }

    function brokenParent() internal returns (bytes memory) {
        Draft memory d = draft(1, GENESIS, counts(2, 5, 1));
        d.heights[0].commitment.baseFee += 1;
        seal(d.heights[0]);
        d.leaves[0].digest = digestOf(d.heights[0].commitment);
        roots(d);
        BrokenLinkEvidence memory e = linkEvidence(d, post(d, POSTER));
        e.commitment = d.heights[1].commitment;
        return abi.encodeCall(PosterAbi.verifyBrokenParent, (e));
    }

    function brokenOffset() internal returns (bytes memory) {
        Draft memory d = draft(1, GENESIS, counts(2, 5, 1));
        d.leaves[1].offset = 3;
        roots(d);
        BrokenLinkEvidence memory e = linkEvidence(d, post(d, POSTER));
        e.commitment = d.heights[0].commitment;
        return abi.encodeCall(PosterAbi.verifyBrokenOffset, (e));
    }

    function brokenFirst() internal returns (bytes memory) {
        Batch memory previous = post(draft(1, GENESIS, counts(2, 1, 1)), POSTER);
        Draft memory d = draft(4, keccak256("another parent"), counts(1, 1, 1));
        BrokenFirstEvidence memory e;
        e.previous = previous;
        e.batch = post(d, POSTER);
        (e.leaf, e.leafProof, e.commitment) = (d.leaves[0], leafProof(d, 0), d.heights[0].commitment);
        return abi.encodeCall(PosterAbi.verifyBrokenFirst, (e));
    }

    function brokenCount() internal returns (bytes memory) {
        Draft memory d = draft(1, GENESIS, counts(2, 5, 1));
        bytes32[] memory shorter = openingLeaves(d);
        assembly ("memory-safe") {
            mstore(shorter, 7)
        }
        d.input.openingRoot = Trees.root(shorter);
        Batch memory b = post(d, POSTER);
        return abi.encodeCall(PosterAbi.verifyBrokenCount, (b, 7, Trees.top(shorter)));
    }

    /// The signature of another member than the leader.
    function forgedCommitment() internal returns (bytes memory) {
        Draft memory d = draft(1, GENESIS, counts(2, 5, 1));
        OrderCommitment memory c = d.heights[1].commitment;
        uint256 leader = leaderOf(c.view_);
        Signature memory s = sign(signerSecrets[(leader + 1) % members], digestOf(c));
        d.leaves[1].signatureHash = keccak256(abi.encodePacked(s.r, s.s, s.v));
        roots(d);
        return forgedEvidence(d, post(d, POSTER), s);
    }

    function forgedEvidence(Draft memory d, Batch memory b, Signature memory s) internal view returns (bytes memory) {
        OrderCommitment memory c = d.heights[1].commitment;
        return abi.encodeCall(
            PosterAbi.verifyForgedCommitment,
            (
                ForgedCommitmentEvidence({
                    batch: b,
                    leaf: d.leaves[1],
                    leafProof: leafProof(d, 1),
                    commitment: c,
                    signature: s,
                    leader: signer(leaderOf(c.view_)),
                    scheduleProof: scheduleProof(c.view_)
                })
            )
        );
    }

    /// Posts `opening` for an envelope at position 1 of height 2.
    function openingEvidence(SealedEnvelope memory e, Opening memory opening, uint256[2] memory root)
        internal
        returns (bytes memory)
    {
        Draft memory d = draft(1, GENESIS, counts(2, 5, 1));
        d.heights[1].ids[1] = keccak256(e.preimage);
        d.heights[1].openingHashes[1] = this.openingHashOf(opening);
        seal(d.heights[1]);
        d.heights[2].commitment.parent = digestOf(d.heights[1].commitment);
        seal(d.heights[2]);
        rebuild(d);
        WrongOpeningEvidence memory w;
        w.batch = post(d, POSTER);
        (w.height, w.position) = (2, 1);
        w.openingProof = openingProof(d, 3);
        w.envelope = e;
        w.opening = opening;
        w.secretRoot = root;
        return abi.encodeCall(PosterAbi.verifyWrongOpening, (w));
    }

    function sealHello() internal view returns (SealedEnvelope memory e, uint256 r) {
        return sealEnvelope(Sealing(0xa11ce, 3, keccak256("seed"), "hello"));
    }

    function opened(bytes memory message) internal pure returns (Opening memory) {
        return Opening(0, keccak256("seed"), message, "");
    }

    function wrongMessage() internal returns (bytes memory) {
        (SealedEnvelope memory e,) = sealHello();
        return openingEvidence(e, opened("hellp"), [uint256(0), 0]);
    }

    function secretEvidence(uint256[4] memory point) internal returns (bytes memory) {
        (SealedEnvelope memory e,) = sealHello();
        return openingEvidence(e, Opening(1, 0, "", pointBytes(point)), [point[2], point[3]]);
    }

    /// A point, but not x·u.
    function wrongSecret() internal returns (bytes memory) {
        return secretEvidence(Bls.mulGenerator(12_345));
    }

    /// x·u and a point of order 3.
    function secretOutsideSubgroup() internal returns (bytes memory) {
        (, uint256 r) = sealHello();
        return secretEvidence(addTorsion(mul(committees.keyOf(0), r)));
    }

    /// No point has this x: x³ + 4 is no square, and -(x³ + 4) has the root given.
    function secretNotOnCurve() internal returns (bytes memory) {
        (SealedEnvelope memory e,) = sealHello();
        (uint256 x, uint256[2] memory root) = offCurve();
        return openingEvidence(e, Opening(1, 0, "", abi.encodePacked(uint128(1 << 127), x)), root);
    }

    /// The uncompressed flag.
    function secretNotCanonical() internal returns (bytes memory) {
        (SealedEnvelope memory e,) = sealHello();
        return openingEvidence(e, Opening(1, 0, "", abi.encodePacked(uint128(1), uint256(5))), [uint256(0), 0]);
    }

    // ---- openings that the committee did not certify

    /// What the committee certifies of a height, `above` commitments below the certificate.
    function certified(DisownedOpeningEvidence memory e, Height memory h, uint64 above) internal view {
        bytes32[] memory leaves = heightLeaves(h);
        e.openingRoot = Trees.root(leaves);
        e.certifiedProof = Trees.prove(leaves, e.posted.position);
        e.certifiedHash = h.openingHashes[e.posted.position];
        e.stateRoot = keccak256("state");
        e.chain = new OrderCommitment[](1 + above);
        for (uint64 i = 0; i <= above; ++i) {
            e.chain[i] = commitment(h.commitment.height + p.executedLag + i);
            if (i != 0) e.chain[i].parent = digestOf(e.chain[i - 1]);
        }
        carry(e);
    }

    /// Makes the first commitment carry the executed root that the evidence names, and certifies the last.
    function carry(DisownedOpeningEvidence memory e) internal view {
        e.chain[0].executedRoot =
            keccak256(abi.encodePacked("BLINDFOLD-V1/executed-root/", e.stateRoot, e.openingRoot));
        for (uint256 i = 1; i < e.chain.length; ++i) {
            e.chain[i].parent = digestOf(e.chain[i - 1]);
        }
        e.certificate = certify(e.chain[e.chain.length - 1]);
    }

    function heightLeaves(Height memory h) internal pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](h.ids.length);
        for (uint32 i = 0; i < leaves.length; ++i) {
            leaves[i] = Merkle.openingLeaf(OpeningLeaf(h.commitment.height, i, h.ids[i], h.openingHashes[i]));
        }
    }

    /// About the posted leaf of a height at `position`, against the openings that the height really has.
    function disownedEvidence(Draft memory d, Batch memory b, uint256 height, uint32 position, uint64 above)
        internal
        view
        returns (DisownedOpeningEvidence memory e)
    {
        uint256 index = uint256(d.leaves[height].offset) + position;
        e.batch = b;
        e.posted = d.openings[index];
        e.postedProof = openingProof(d, index);
        certified(e, d.heights[height], above);
    }

    function disownedCall(DisownedOpeningEvidence memory e) internal pure returns (bytes memory) {
        return abi.encodeCall(PosterAbi.verifyDisownedOpening, (e));
    }

    /// Another opening at position 1 of height 2 than the one that height 10 certifies.
    function disownedDraft() internal view returns (Draft memory d) {
        d = draft(1, GENESIS, counts(2, 5, 1));
        d.openings[3].openingHash = keccak256("a tale");
        roots(d);
    }

    function disowned(uint64 above) internal returns (bytes memory) {
        Draft memory d = disownedDraft();
        return disownedCall(disownedEvidence(d, post(d, POSTER), 1, 1, above));
    }

    /// The least x on no point, and the smaller root of -(x³ + 4): a power (p + 1) / 4, which is a root where
    /// there is one.
    function offCurve() internal view returns (uint256 x, uint256[2] memory root) {
        for (x = 1;; ++x) {
            (uint256 hi, uint256 lo) = Bls.curveEquation(0, x);
            (hi, lo) = Bls.negate(hi, lo);
            root = squareRoot(hi, lo);
            (uint256 sHi, uint256 sLo) = Bls.power(root[0], root[1], 2);
            if (sHi == hi && sLo == lo) {
                if (Bls.isLarger(root[0], root[1])) (root[0], root[1]) = Bls.negate(root[0], root[1]);
                return (x, root);
            }
        }
    }

    function squareRoot(uint256 hi, uint256 lo) internal view returns (uint256[2] memory root) {
        // (p + 1) / 4
        bytes memory exponent =
            hex"0680447a8e5ff9a692c6e9ed90d2eb35d91dd2e13ce144afd9cc34a83dac3d8907aaffffac54ffffee7fbfffffffeaab";
        (bool ok, bytes memory out) = address(5).staticcall(
            abi.encodePacked(
                uint256(48), uint256(48), uint256(48), uint128(hi), lo, exponent, uint128(Bls.P_HI), Bls.P_LO
            )
        );
        require(ok && out.length == 48, "modexp");
        bytes memory padded = bytes.concat(bytes16(0), out);
        return abi.decode(padded, (uint256[2]));
    }
}
