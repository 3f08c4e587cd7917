"""The routes, one module and one router per subject; each router is made for a scene."""
