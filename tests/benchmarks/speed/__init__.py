"""How fast the engine is, beside itself and beside the public release of TomOpt."""
