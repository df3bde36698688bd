"""Design muon-tomography detectors by gradient descent: declarative, cached, reproducible."""
