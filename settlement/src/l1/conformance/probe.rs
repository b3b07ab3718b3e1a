//! The contract that the suite calls: `testdata/Probe.sol` beside this folder, compiled with the settings
//! of the real ones.

use alloy_sol_types::sol;

sol!(
    #[allow(missing_docs, reason = "named in the source")]
    Probe,
    "src/l1/testdata/Probe.json"
);
