"""The voxel grid, its layers and the families of objects in it."""
