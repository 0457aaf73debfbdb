# SPDX-License-Identifier: Apache-2.0
"""From where: the connection and the forwarded chain become one address, its network and its country.

``networks`` owns the schemas of ``networks`` and ``trusted_proxies``; ``forwarded`` finds the address, ``resolve``
puts them together. ``geoip`` alone opens databases. Where somebody *is* says nothing about whom they work for:
that is ``caller``'s.
"""
