"""Dataset condensation by distribution matching in JAX: DM, IDM, M3D and DANCE."""

__version__ = "0.1.0"
